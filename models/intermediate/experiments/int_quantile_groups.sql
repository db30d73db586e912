{#- The quantile of each arm and slice in the newest data, and how many values of each independent group lie at or below it. -#}
{%- set slice_key = 'look_date, experiment_id, variation_id, metric_name, dimension_name, dimension_value' -%}

with ranked as (
    select * from {{ ref('evalhouse', 'int_quantile_values') }}
),

estimates as (
    select
        {{ slice_key }},
        {{ evalhouse.order_statistic('quantile') }} as quantile_value
    from ranked
    group by {{ slice_key }}
)

select
    {{ evalhouse.qualified('ranked', slice_key) }},
    ranked.group_id,
    min(ranked.quantile) as quantile,
    max(case when ranked.is_clustered then 1 else 0 end) = 1 as is_clustered,
    max(ranked.alpha) as alpha,
    min(ranked.quantile_of) as quantile_of,
    min(estimates.quantile_value) as quantile_value,
    count(distinct ranked.unit_id) as units,
    cast(count(*) as {{ evalhouse.type_double() }}) as values_of_group,
    cast(
        count(case when ranked.metric_value <= estimates.quantile_value then 1 end) as {{ evalhouse.type_double() }}
    ) as values_at_or_below
from ranked
inner join estimates
    on {{ evalhouse.joined('ranked', 'estimates', slice_key) }}
group by {{ evalhouse.qualified('ranked', slice_key) }}, ranked.group_id
