{#- Units and means of every cluster at every look, by arm, phase and slice: running totals of the daily changes, only
    for experiments whose units come in clusters. -#}
{%- set metrics = evalhouse.stepwise_metrics() -%}
{%- set key = ['experiment_id', 'variation_id', 'phase_number', 'cluster_id'] -%}
{%- set cluster = 'experiment_id, variation_id, phase_number, cluster_id, dimension_name, dimension_value' -%}
{%- set to_date -%}
    over (
            partition by {{ evalhouse.qualified('cluster_looks', cluster) }}
            order by cluster_looks.as_of_date
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

bounds as (
    select * from {{ ref('evalhouse', 'int_metric_bounds') }}
),

looks as (
    select * from {{ ref('evalhouse', 'int_looks') }}
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

clusters as (
    select
        {{ cluster }},
        min(change_date) as first_date
    from cluster_days
    group by {{ cluster }}
),

cluster_looks as (
    select
        clusters.*,
        looks.as_of_date
    from clusters
    inner join looks
        on clusters.experiment_id = looks.experiment_id
        and looks.as_of_date >= clusters.first_date
),

sums as (
    select
        {{ evalhouse.qualified('cluster_looks', cluster) }},
        cluster_looks.as_of_date as look_date
        {%- for metric in metrics %}
        {%- for name in evalhouse.step_counts(metric) + evalhouse.metric_parts(metric) %},
        sum(coalesce(cluster_days.{{ metric.name }}__{{ name }}, 0)) {{ to_date }} as {{ metric.name }}__{{ name }}
        {%- endfor %}
        {%- endfor %}
    from cluster_looks
    left join cluster_days
        on {{ evalhouse.joined('cluster_looks', 'cluster_days', cluster) }}
        and cluster_looks.as_of_date = cluster_days.change_date
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
left join bounds on sums.experiment_id = bounds.experiment_id
