-- What does a session cost by model, and how much of it went into answers that the user had to ask for again?
{{ config(enabled=evalhouse.has_input('traces')) }}

with turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

by_model as (
    select
        model_version,
        count(distinct session_id) as sessions,
        count(*) as turns,
        sum(cost_usd) as cost_usd,
        sum(case when is_rephrased or is_exact_retry then cost_usd else 0 end) as repeated_usd,
        sum(case when is_completed then 1 else 0 end) as completed_tasks
    from turns
    where is_mature
    group by model_version
)

select
    model_version,
    sessions,
    round(cast(turns as {{ dbt.type_numeric() }}) / sessions, 2) as turns_per_session,
    round(cast(100 * cost_usd / sessions as {{ dbt.type_numeric() }}), 2) as cents_per_session,
    round(cast(100 * repeated_usd / cost_usd as {{ dbt.type_numeric() }}), 1) as percent_asked_again,
    round(cast(100 * cost_usd / nullif(completed_tasks, 0) as {{ dbt.type_numeric() }}), 2) as cents_per_task
from by_model
order by model_version
