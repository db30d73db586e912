{#- The quantile of each arm and slice at every look, and how many values of each independent group lie in its bin or
    below. -#}
{%- set slice_key = 'experiment_id, variation_id, metric_name, dimension_name, dimension_value' -%}

with changes as (
    select * from {{ ref('evalhouse', 'int_quantile_changes') }}
),

bins as (
    select * from {{ ref('evalhouse', 'int_quantile_look_bins') }}
),

estimates as (
    select
        look_date,
        {{ slice_key }},
        min(quantile) as quantile,
        max(case when is_clustered then 1 else 0 end) = 1 as is_clustered,
        max(alpha) as alpha,
        min(quantile_of) as quantile_of,
        {{ evalhouse.order_statistic('quantile') }} as quantile_value,
        max(case when values_before <= floor((values_in_slice - 1) * quantile) then value_bin end) as quantile_bin
    from bins
    group by look_date, {{ slice_key }}
),

unit_counts as (
    select
        estimates.look_date,
        {{ evalhouse.qualified('estimates', slice_key) }},
        changes.group_id,
        changes.unit_id,
        min(estimates.quantile) as quantile,
        max(case when estimates.is_clustered then 1 else 0 end) = 1 as is_clustered,
        max(estimates.alpha) as alpha,
        min(estimates.quantile_of) as quantile_of,
        min(estimates.quantile_value) as quantile_value,
        sum(changes.sign) as values_of_unit,
        sum(case when changes.value_bin <= estimates.quantile_bin then changes.sign else 0 end) as values_at_or_below
    from estimates
    inner join changes
        on {{ evalhouse.joined('estimates', 'changes', slice_key) }}
        and changes.change_date <= estimates.look_date
    group by estimates.look_date, {{ evalhouse.qualified('estimates', slice_key) }}, changes.group_id, changes.unit_id
    having sum(changes.sign) > 0
)

select
    look_date,
    {{ slice_key }},
    group_id,
    min(quantile) as quantile,
    max(case when is_clustered then 1 else 0 end) = 1 as is_clustered,
    max(alpha) as alpha,
    min(quantile_of) as quantile_of,
    min(quantile_value) as quantile_value,
    count(*) as units,
    sum(values_of_unit) as values_of_group,
    sum(values_at_or_below) as values_at_or_below
from unit_counts
group by look_date, {{ slice_key }}, group_id
