{#- The constants that the sums by day (int_arm_days) are taken with, as a list of [metric, part, kind]: `centre`, where
    a part is measured from, and `mean`, what stands for a missing covariate. -#}
{% macro stepwise_constants() -%}
    {%- set constants = [] -%}
    {%- for metric in evalhouse.stepwise_metrics() -%}
        {%- for part in evalhouse.metric_parts(metric) -%}
            {%- if metric.type in ['mean', 'participation', 'ratio'] -%}
                {%- do constants.append([metric.name, part, 'centre']) -%}
            {%- endif -%}
            {%- if metric.missing == 'exclude' and part in ['x', 'w'] -%}
                {%- do constants.append([metric.name, part, 'mean']) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(constants) }}
{%- endmacro %}

{#- The same as columns of a select over rows of int_arm_days, each after a comma and named as in int_metric_bounds. -#}
{% macro stored_constants(arm_days) -%}
    {%- for name, part, kind in evalhouse.stepwise_constants() -%},
    max(case when {{ arm_days }}.metric_name = '{{ name }}' then {{ arm_days }}.{{ kind }}_{{ part }} end)
        as {{ name }}__{{ part }}_{{ kind }}
    {%- endfor -%}
{%- endmacro %}
