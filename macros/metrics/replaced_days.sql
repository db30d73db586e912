{#-
    CTEs of an incremental model that keeps rows by day: `reach` says from which day on (`replaced_from`) what is stored
    has to be replaced; `marked_days` are rows to keep beside the others, the only ones with a definition_hash, which
    say what the days were made from. A model goes by rows of its own, so that a run that was interrupted, or models
    that stand at different days, cannot mislead it.

    Expects the CTEs `definition` (definition_hash: one row), `day_states` (state_date, day_state: what there is of each
    day now, as a text) and `newest` (read_until: one row, the newest day of what the model is made from). Replaced are
    `days_back` days before the newest day of the last run, or of this one where it is earlier, and what follows; days
    from the first one on of which there is another state; and everything when the definition is another one.
-#}
{% macro replaced_days(day, days_back) -%}
{%- set forever_ago = "cast('0001-01-01' as date)" -%}
{%- set string = dbt.type_string() -%}
{%- if is_incremental() -%}
stored_marks as (
    select
        {{ day }} as stored_date,
        definition_hash,
        day_state,
        read_until
    from {{ this }}
    where definition_hash is not null
),

changes as (
    select day_states.state_date as changed_date
    from day_states
    left join stored_marks on day_states.state_date = stored_marks.stored_date
    where stored_marks.day_state is null or stored_marks.day_state <> day_states.day_state

    union all

    select stored_marks.stored_date as changed_date
    from stored_marks
    left join day_states on stored_marks.stored_date = day_states.state_date
    where stored_marks.day_state is not null and day_states.state_date is null
),

-- The newest day is one of those that the last run replaced.
last_run as (
    select
        min(read_until) as read_until,
        (select min(definition_hash) from stored_marks) as first_hash,
        (select max(definition_hash) from stored_marks) as last_hash
    from stored_marks
    where stored_date = (select max(stored_date) from stored_marks where day_state is not null)
),

reach as {{ evalhouse.materialized() }} (
    select
        case
            when last_run.first_hash = definition.definition_hash
                and last_run.last_hash = definition.definition_hash
                and last_run.read_until is not null and newest.read_until is not null
                then least(
                    cast({{ evalhouse.time_added(
                        'day', -days_back, 'least(last_run.read_until, newest.read_until)'
                    ) }} as date),
                    coalesce((select min(changed_date) from changes), newest.read_until)
                )
            else {{ forever_ago }}
        end as replaced_from
    from definition
    cross join newest
    cross join last_run
),
{%- else -%}
reach as (
    select {{ forever_ago }} as replaced_from
),
{%- endif %}

marked_days as (
    select
        day_states.state_date as {{ day }},
        definition.definition_hash,
        day_states.day_state,
        newest.read_until
    from day_states
    cross join definition
    cross join newest
    where day_states.state_date >= (select replaced_from from reach)
    {%- if is_incremental() %}

    union all

    -- A day that lost all of its rows has none in the batch, and would stay.
    select distinct
        stored_days.{{ day }},
        definition.definition_hash,
        cast(null as {{ string }}) as day_state,
        cast(null as date) as read_until
    from {{ this }} as stored_days
    cross join definition
    left join day_states on stored_days.{{ day }} = day_states.state_date
    where
        stored_days.{{ day }} >= (select replaced_from from reach)
        and day_states.state_date is null
    {%- endif %}
)
{%- endmacro %}
