{#- The histogram of every quantile metric at every look, in the form of int_quantile_values: a bin stands for its ranks
    with the mean of its values, so that a value that many share comes out exactly. -#}
{%- set to_date -%}
    over (
            partition by bin_looks.slice_number, bin_looks.value_bin
            order by bin_looks.look_date
            rows between unbounded preceding and current row
        )
{%- endset -%}

with changes as (
    select * from {{ ref('evalhouse', 'int_quantile_changes') }}
),

looks as (
    select * from {{ ref('evalhouse', 'int_looks') }}
),

bin_days as (
    select
        slice_number,
        value_bin,
        change_date,
        min(experiment_id) as experiment_id,
        sum(sign) as value_count,
        sum(sign * metric_value) as value_sum
    from changes
    group by slice_number, value_bin, change_date
),

bins as (
    select
        slice_number,
        value_bin,
        min(experiment_id) as experiment_id,
        min(change_date) as first_date
    from bin_days
    group by slice_number, value_bin
),

bin_looks as (
    select
        bins.slice_number,
        bins.value_bin,
        looks.as_of_date as look_date
    from bins
    inner join looks
        on bins.experiment_id = looks.experiment_id
        and looks.as_of_date >= bins.first_date
),

running_bins as (
    select
        bin_looks.slice_number,
        bin_looks.value_bin,
        bin_looks.look_date,
        sum(coalesce(bin_days.value_count, 0)) {{ to_date }} as value_count,
        sum(coalesce(bin_days.value_sum, 0)) {{ to_date }} as value_sum
    from bin_looks
    left join bin_days
        on bin_looks.slice_number = bin_days.slice_number
        and bin_looks.value_bin = bin_days.value_bin
        and bin_looks.look_date = bin_days.change_date
),

ranked as (
    select
        *,
        sum(value_count) over (
            partition by slice_number, look_date order by value_bin rows between unbounded preceding and current row
        ) as values_through,
        sum(value_count) over (partition by slice_number, look_date) as values_in_slice
    from running_bins
    where value_count > 0
)

select
    look_date,
    slice_number,
    value_bin,
    value_sum / value_count as metric_value,
    values_through - value_count as values_before,
    values_through,
    values_in_slice
from ranked
