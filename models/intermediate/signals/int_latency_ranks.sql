{#- Every value of a slice in order, with the ranks that its turns take: every later step picks ranks. -#}
with latencies as (
    select * from {{ ref('evalhouse', 'int_latency_values') }}
),

-- Turns with the same value make no difference to what is picked.
distinct_values as (
    select
        slice_number,
        metric_value,
        count(*) as turns,
        sum(ranks) as ranks
    from latencies
    group by slice_number, metric_value
),

ranked as (
    select
        slice_number,
        metric_value,
        turns,
        -- To a millionth of a rank: where a row ends must not hang on how an engine rounds a running sum.
        floor(1e6 * sum(ranks) over (
            partition by slice_number order by metric_value
            rows between unbounded preceding and current row
        ) + 5e-1) / 1e6 as values_through
    from distinct_values
)

select
    slice_number,
    metric_value,
    turns,
    -- Taken from the row before, so that no rank falls between two rows by rounding.
    coalesce(
        lag(values_through) over (partition by slice_number order by metric_value),
        cast(0 as {{ evalhouse.type_double() }})
    ) as values_before,
    values_through
from ranked
