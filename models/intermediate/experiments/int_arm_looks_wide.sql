{#- Moments of every arm, phase and slice at every look and in the newest data: running totals of the daily changes. -#}
{%- set metrics = evalhouse.stepwise_metrics() -%}
{%- set arm = 'experiment_id, variation_id, phase_number, dimension_name, dimension_value' -%}
{%- set to_date -%}
    over (
            partition by {{ arm }}
            order by change_date
            rows between unbounded preceding and current row
        )
{%- endset %}

with metric_days as (
    select * from {{ ref('evalhouse', 'int_arm_days') }}
    where variation_id <> ''
),

daily_looks as (
    select * from {{ ref('evalhouse', 'int_looks') }}
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

looks as (
    {{ evalhouse.all_looks() | indent(4) }}
),

{{ evalhouse.bounds_of_arms('metric_days') }},

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

running_sums as (
    select
        {{ arm }},
        change_date,
        lead(change_date) over (partition by {{ arm }} order by change_date) as next_date,
        sum(coalesce(units, 0)) {{ to_date }} as units
        {%- for metric in metrics %}
        {%- for name in evalhouse.step_sums(metric) %},
        sum(coalesce({{ metric.name }}__{{ name }}, 0)) {{ to_date }} as {{ metric.name }}__{{ name }}
        {%- endfor %}
        {%- endfor %}
    from arm_days
),

sums as (
    select
        running_sums.*,
        looks.look_date
    from running_sums
    inner join looks
        on running_sums.experiment_id = looks.experiment_id
        and running_sums.change_date <= looks.look_date
        and (running_sums.next_date is null or running_sums.next_date > looks.look_date)
)

select
    {{ evalhouse.qualified('sums', arm) }},
    sums.look_date,
    sums.units as analysed_units
    {%- for metric in metrics %}
    {%- for moment in evalhouse.moments_of_sums(metric) %},
    {{ moment.sql }} as {{ metric.name }}__{{ moment.name }}
    {%- endfor %}
    {%- endfor %}
from sums
left join bounds
    on sums.experiment_id = bounds.experiment_id
    and sums.variation_id = bounds.variation_id
