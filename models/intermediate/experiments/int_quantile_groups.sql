{#- The quantile of each arm and slice in the newest data, and how many values of each independent group lie at or below
    it. -#}
with ranked as (
    select * from {{ ref('evalhouse', 'int_quantile_values') }}
),

estimates as (
    select
        slice_number,
        {{ evalhouse.order_statistic('quantile') }} as quantile_value
    from ranked
    group by slice_number
)

select
    ranked.look_date,
    ranked.slice_number,
    ranked.group_id,
    min(ranked.experiment_id) as experiment_id,
    min(ranked.variation_id) as variation_id,
    min(ranked.metric_name) as metric_name,
    min(ranked.dimension_name) as dimension_name,
    min(ranked.dimension_value) as dimension_value,
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
inner join estimates on ranked.slice_number = estimates.slice_number
group by ranked.look_date, ranked.slice_number, ranked.group_id
