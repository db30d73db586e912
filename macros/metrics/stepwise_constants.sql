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

{#- CTEs that end in `bounds`: these constants of every arm, and per part <metric>__<part>_common, the place that the
    means of all arms of an experiment are told from: zero where one of them is measured from there. -#}
{% macro bounds_of_arms(arm_days) -%}
arm_bounds as (
    select
        {{ arm_days }}.experiment_id,
        {{ arm_days }}.variation_id
        {{- evalhouse.stored_constants(arm_days) | indent(4) }}
    from {{ arm_days }}
    group by {{ arm_days }}.experiment_id, {{ arm_days }}.variation_id
),

bounds as (
    select
        arm_bounds.*
        {%- for name, part, kind in evalhouse.stepwise_constants() if kind == 'centre' %}
        {%- set centre = name ~ '__' ~ part ~ '_centre' %},
        case
            when min(abs({{ centre }})) over (partition by experiment_id) > 0
                then min({{ centre }}) over (partition by experiment_id)
            else 0
        end as {{ name }}__{{ part }}_common
        {%- endfor %}
    from arm_bounds
)
{%- endmacro %}
