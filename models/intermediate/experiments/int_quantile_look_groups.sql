{#- The quantile of each arm and slice at every look, and how many values of each independent group lie in its bin or
    below. -#}
with changes as (
    select * from {{ ref('evalhouse', 'int_quantile_changes') }}
),

bins as (
    select * from {{ ref('evalhouse', 'int_quantile_look_bins') }}
),

quantiles as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
    where metric_type = 'quantile'
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

slices as (
    select
        changes.slice_number,
        min(changes.experiment_id) as experiment_id,
        min(changes.variation_id) as variation_id,
        min(changes.metric_name) as metric_name,
        min(changes.dimension_name) as dimension_name,
        min(changes.dimension_value) as dimension_value
    from changes
    group by changes.slice_number
),

described as (
    select
        slices.*,
        quantiles.quantile,
        quantiles.quantile_of,
        experiments.is_clustered,
        experiments.alpha
    from slices
    inner join quantiles on slices.metric_name = quantiles.metric_name
    inner join experiments on slices.experiment_id = experiments.experiment_id
),

estimates as (
    select
        bins.slice_number,
        bins.look_date,
        {{ evalhouse.order_statistic('described.quantile') }} as quantile_value,
        max(case
            when bins.values_before <= floor((bins.values_in_slice - 1) * described.quantile) then bins.value_bin
        end) as quantile_bin
    from bins
    inner join described on bins.slice_number = described.slice_number
    group by bins.slice_number, bins.look_date
),

unit_counts as (
    select
        estimates.slice_number,
        estimates.look_date,
        changes.group_id,
        changes.unit_id,
        min(estimates.quantile_value) as quantile_value,
        sum(changes.sign) as values_of_unit,
        sum(case when changes.value_bin <= estimates.quantile_bin then changes.sign else 0 end) as values_at_or_below
    from estimates
    inner join changes
        on estimates.slice_number = changes.slice_number
        and estimates.look_date >= changes.change_date
    group by estimates.slice_number, estimates.look_date, changes.group_id, changes.unit_id
    having sum(changes.sign) > 0
),

group_counts as (
    select
        slice_number,
        look_date,
        group_id,
        min(quantile_value) as quantile_value,
        count(*) as units,
        sum(values_of_unit) as values_of_group,
        sum(values_at_or_below) as values_at_or_below
    from unit_counts
    group by slice_number, look_date, group_id
)

select
    group_counts.*,
    described.experiment_id,
    described.variation_id,
    described.metric_name,
    described.dimension_name,
    described.dimension_value,
    described.quantile,
    described.quantile_of,
    described.is_clustered,
    described.alpha
from group_counts
inner join described on group_counts.slice_number = described.slice_number
