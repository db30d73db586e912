{#- Units and means of every cluster at every look and in the newest data, by arm, phase and slice: running totals of
    the daily changes, only for experiments whose units come in clusters. -#}
{%- set metrics = evalhouse.stepwise_metrics() -%}
{%- set key = ['experiment_id', 'variation_id', 'phase_number', 'cluster_id'] -%}
{%- set cluster = 'experiment_id, variation_id, phase_number, cluster_id, dimension_name, dimension_value' -%}
{%- set to_date -%}
    over (
            partition by {{ cluster }}
            order by change_date
            rows between unbounded preceding and current row
        )
{%- endset %}

with experiments as (
    select
        *,
        cast('0001-01-01' as date) as rebuilt_from
    from {{ ref('evalhouse', 'int_experiments') }}
    where is_clustered
),

arm_days as (
    select * from {{ ref('evalhouse', 'int_arm_days') }}
    where variation_id <> ''
),

-- Arms and clusters are measured from the same place.
{{ evalhouse.bounds_of_arms('arm_days') }},

daily_looks as (
    select * from {{ ref('evalhouse', 'int_looks') }}
),

looks as (
    {{ evalhouse.all_looks() | indent(4) }}
),

{{ evalhouse.unit_changes(metrics) }},

{{ evalhouse.unit_change_sums(metrics, key) }},

cluster_days as (
    select
        {{ cluster }},
        change_date
        {%- for metric in metrics %}
        {%- for name in evalhouse.step_counts(metric) + evalhouse.metric_parts(metric) %},
        sum(case when metric_name = '{{ metric.name }}' then {{ name }} end) as {{ metric.name }}__{{ name }}
        {%- endfor %}
        {%- endfor %}
    from change_sums
    group by {{ cluster }}, change_date
),

running_sums as (
    select
        {{ cluster }},
        change_date,
        lead(change_date) over (partition by {{ cluster }} order by change_date) as next_date
        {%- for metric in metrics %}
        {%- for name in evalhouse.step_counts(metric) + evalhouse.metric_parts(metric) %},
        sum(coalesce({{ metric.name }}__{{ name }}, 0)) {{ to_date }} as {{ metric.name }}__{{ name }}
        {%- endfor %}
        {%- endfor %}
    from cluster_days
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
    {{ evalhouse.qualified('sums', cluster ~ ', look_date') }}
    {%- for metric in metrics %},
    sums.{{ metric.name }}__n
    {%- for part in evalhouse.metric_parts(metric) %},
    {{ evalhouse.mean_of_sums(metric, part) }} as {{ metric.name }}__{{ part }}
    {%- endfor %}
    {%- endfor %}
from sums
left join bounds
    on sums.experiment_id = bounds.experiment_id
    and sums.variation_id = bounds.variation_id
