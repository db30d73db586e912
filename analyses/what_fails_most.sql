-- What fails most, and where are cases of it? The five commonest modes of the week that ends with the newest day, each
-- with two cases to look at: the newest ones of two users.
{{ config(enabled=evalhouse.has_input('traces')) }}

with modes as (
    select * from {{ ref('evalhouse', 'failure_modes') }}
    where dimension_name = 'all'
),

cases as (
    select * from {{ ref('evalhouse', 'failure_cases') }}
),

newest as (
    select max(failure_date) as failure_date from modes
),

recent as (
    select
        modes.failure_mode,
        sum(modes.failures) as failures,
        sum(modes.turns) as turns
    from modes
    inner join newest on modes.failure_date > cast({{ evalhouse.time_added('day', -7, 'newest.failure_date') }} as date)
    group by modes.failure_mode
),

commonest as (
    select
        *,
        row_number() over (order by failures desc, failure_mode asc) as place
    from recent
),

latest_of_users as (
    select
        *,
        row_number() over (partition by primary_mode, unit_id order by started_at desc, trace_id asc) as number_of_unit
    from cases
),

latest as (
    select
        *,
        row_number() over (partition by primary_mode order by started_at desc, trace_id asc) as number_of_mode
    from latest_of_users
    where number_of_unit = 1
)

select
    commonest.failure_mode,
    commonest.failures,
    round(cast(100e0 * commonest.failures / commonest.turns as {{ dbt.type_numeric() }}), 1) as percent_of_turns,
    latest.trace_id,
    latest.model_version,
    latest.language,
    latest.input_text
from commonest
left join latest
    on commonest.failure_mode = latest.primary_mode
    and latest.number_of_mode <= 2
where commonest.place <= 5
order by commonest.place, latest.number_of_mode
