{#- Moments of every arm, phase and slice at every look: running totals of the daily changes, brought into the form that
    int_arm_moments_wide has for the newest data. -#}
{%- set metrics = evalhouse.stepwise_metrics() -%}
{%- set arm = 'experiment_id, variation_id, phase_number, dimension_name, dimension_value' -%}

{%- set bounded_parts = [] -%}
{%- for metric in metrics if metric.type in ['mean', 'participation', 'ratio'] -%}
    {%- for part in evalhouse.metric_parts(metric) -%}
        {%- do bounded_parts.append([metric.name, part]) -%}
    {%- endfor -%}
{%- endfor %}
{%- set to_date -%}
    over (
            partition by {{ evalhouse.qualified('arm_looks', arm) }}
            order by arm_looks.as_of_date
            rows between unbounded preceding and current row
        )
{%- endset %}

with metric_days as (
    select * from {{ ref('evalhouse', 'int_arm_days') }}
    where variation_id <> ''
),

looks as (
    select * from {{ ref('evalhouse', 'int_looks') }}
),

bounds as (
    select
        experiment_id
        {%- for name, part in bounded_parts %},
        max(case when metric_name = '{{ name }}' then centre_{{ part }} end) as {{ name }}__{{ part }}_centre
        {%- endfor %}
    from metric_days
    group by experiment_id
),

arm_days as (
    select
        {{ arm }},
        change_date,
        sum(case when metric_name = '(units)' then n end) as units
        {%- for metric in metrics %}
        {%- for name in evalhouse.step_sums(metric) %},
        sum(case when metric_name = '{{ metric.name }}' then {{ name }} end) as {{ metric.name }}__{{ name }}
        {%- endfor %}
        {%- endfor %}
    from metric_days
    group by {{ arm }}, change_date
),

arms as (
    select
        {{ arm }},
        min(change_date) as first_date
    from arm_days
    group by {{ arm }}
),

arm_looks as (
    select
        arms.*,
        looks.as_of_date
    from arms
    inner join looks
        on arms.experiment_id = looks.experiment_id
        and looks.as_of_date >= arms.first_date
),

sums as (
    select
        {{ evalhouse.qualified('arm_looks', arm ~ ', as_of_date') }},
        sum(coalesce(arm_days.units, 0)) {{ to_date }} as units
        {%- for metric in metrics %}
        {%- for name in evalhouse.step_sums(metric) %},
        sum(coalesce(arm_days.{{ metric.name }}__{{ name }}, 0)) {{ to_date }} as {{ metric.name }}__{{ name }}
        {%- endfor %}
        {%- endfor %}
    from arm_looks
    left join arm_days
        on {{ evalhouse.joined('arm_looks', 'arm_days', arm) }}
        and arm_looks.as_of_date = arm_days.change_date
)

select
    {{ evalhouse.qualified('sums', arm) }},
    sums.as_of_date as look_date,
    sums.units as analysed_units
    {%- for metric in metrics %}
    {%- for moment in evalhouse.moments_of_sums(metric) %},
    {{ moment.sql }} as {{ metric.name }}__{{ moment.name }}
    {%- endfor %}
    {%- endfor %}
from sums
left join bounds on sums.experiment_id = bounds.experiment_id
