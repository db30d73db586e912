-- Which day broke, and what broke on it? The three days with the most failures, all models together.
{{ config(enabled=evalhouse.has_input('traces')) }}

with quality as (
    select * from {{ ref('evalhouse', 'trace_quality_daily') }}
    where dimension_name = 'all'
),

days as (
    select
        trace_date,
        sum(traces) as traces,
        sum(error_rate * traces) / sum(traces) as error_rate,
        sum(timeout_rate * traces) / sum(traces) as timeout_rate,
        sum(refusal_rate * traces) / sum(traces) as refusal_rate,
        max(latency_p50) as slowest_median_ms
    from quality
    group by trace_date
),

ranked as (
    select
        *,
        row_number() over (order by error_rate + timeout_rate desc, trace_date asc) as place
    from days
)

select
    trace_date,
    traces,
    round(cast(100 * error_rate as {{ dbt.type_numeric() }}), 1) as percent_errors,
    round(cast(100 * timeout_rate as {{ dbt.type_numeric() }}), 1) as percent_timeouts,
    round(cast(100 * refusal_rate as {{ dbt.type_numeric() }}), 1) as percent_refusals,
    round(cast(slowest_median_ms as {{ dbt.type_numeric() }}), 0) as slowest_median_ms
from ranked
where place <= 3
order by place
