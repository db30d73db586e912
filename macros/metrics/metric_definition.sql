{#- Everything that decides a metric's number, as one line of JSON: the catalogue shows it, its hash covers it. -#}
{% macro metric_definition(metric) -%}
    {%- set definition = {} -%}
    {%- for key in [
        'type', 'fact', 'where', 'value', 'aggregate', 'denominator', 'quantile', 'quantile_of', 'steps', 'delay_hours',
        'window_hours', 'missing', 'cap', 'cuped', 'cuped_days'
    ] if metric[key] is not none and metric[key] != [] -%}
        {%- do definition.update({key: metric[key]}) -%}
    {%- endfor -%}
    {{ return(tojson(definition, sort_keys=true)) }}
{%- endmacro %}
