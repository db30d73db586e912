{#- The planned metrics that are quantiles of `units` or of `events`. -#}
{% macro quantile_metrics(quantile_of) -%}
    {{ return(
        evalhouse.metric_plan().metrics | selectattr('type', 'equalto', 'quantile')
        | selectattr('quantile_of', 'equalto', quantile_of) | list
    ) }}
{%- endmacro %}

{#- The value of one row of a fact for a quantile of events, in the form that `fact_measures` takes. -#}
{% macro event_measure(metric) -%}
    {%- set value = 'cast(' ~ evalhouse.sql_snippet(metric.value) ~ ' as ' ~ evalhouse.type_double() ~ ')' -%}
    {{ return({
        'name': metric.name ~ '__v', 'where': metric.where, 'is_text': false,
        'sql': 'case when ' ~ evalhouse.sql_snippet(metric.where) ~ ' then ' ~ value ~ ' end'
            if metric.where is not none else value
    }) }}
{%- endmacro %}
