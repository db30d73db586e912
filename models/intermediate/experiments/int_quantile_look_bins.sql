{#- The histogram of every quantile metric at every look, in the form of int_quantile_values: a bin stands for its ranks
    with the mean of its values, so that a value that many share comes out exactly. -#}
{%- set slice_key = 'experiment_id, variation_id, metric_name, dimension_name, dimension_value' -%}
{%- set bin_key = slice_key ~ ', value_bin' -%}

with changes as (
    select * from {{ ref('evalhouse', 'int_quantile_changes') }}
),

looks as (
    select * from {{ ref('evalhouse', 'int_looks') }}
),

quantiles as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
    where metric_type = 'quantile'
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

bin_days as (
    select
        {{ bin_key }},
        change_date,
        sum(sign) as value_count,
        sum(sign * metric_value) as value_sum
    from changes
    group by {{ bin_key }}, change_date
),

bins as (
    select
        {{ bin_key }},
        min(change_date) as first_date
    from bin_days
    group by {{ bin_key }}
),

bin_looks as (
    select
        bins.*,
        looks.as_of_date as look_date
    from bins
    inner join looks
        on bins.experiment_id = looks.experiment_id
        and looks.as_of_date >= bins.first_date
),

running_bins as (
    select
        {{ evalhouse.qualified('bin_looks', bin_key ~ ', look_date') }},
        sum(coalesce(bin_days.value_count, 0)) over running as value_count,
        sum(coalesce(bin_days.value_sum, 0)) over running as value_sum
    from bin_looks
    left join bin_days
        on {{ evalhouse.joined('bin_looks', 'bin_days', bin_key) }}
        and bin_looks.look_date = bin_days.change_date
    window running as (
        partition by {{ evalhouse.qualified('bin_looks', bin_key) }}
        order by bin_looks.look_date
        rows between unbounded preceding and current row
    )
),

ranked as (
    select
        *,
        sum(value_count) over (partition by look_date, {{ slice_key }} order by value_bin) as values_through,
        sum(value_count) over (partition by look_date, {{ slice_key }}) as values_in_slice
    from running_bins
    where value_count > 0
)

select
    ranked.look_date,
    {{ evalhouse.qualified('ranked', bin_key) }},
    ranked.value_sum / ranked.value_count as metric_value,
    ranked.values_through - ranked.value_count as values_before,
    ranked.values_through,
    ranked.values_in_slice,
    quantiles.quantile_of,
    quantiles.quantile,
    experiments.is_clustered,
    experiments.alpha
from ranked
inner join quantiles on ranked.metric_name = quantiles.metric_name
inner join experiments on ranked.experiment_id = experiments.experiment_id
