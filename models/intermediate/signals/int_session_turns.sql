{#- The turns that people saw, in the order in which they came: within the session, and among all turns of the unit.
    Sessions are those the log names; turns without one make a new session where the unit was silent for longer than
    `signals.session_gap_minutes`. -#}
{%- set gap_seconds = evalhouse.settings().signals.session_gap_minutes * 60 -%}
{%- set in_order = 'order by started_at, turn_index nulls last, trace_id' -%}

with traces as (
    select * from {{ ref('evalhouse', 'int_traces') }}
    where not is_shadow
),

turns as (
    select
        trace_id,
        unit_id,
        session_id,
        turn_index,
        started_at,
        coalesce(ended_at, started_at) as finished_at,
        input_text,
        input_hash,
        input_embedding
    from traces
),

without_session as (
    select
        trace_id,
        unit_id,
        turn_index,
        started_at,
        lag(finished_at) over (partition by unit_id {{ in_order }}) as previous_finished_at
    from turns
    where session_id is null
),

openings as (
    select
        *,
        case
            when previous_finished_at is null
                or {{ evalhouse.seconds_between('previous_finished_at', 'started_at') }} > {{ gap_seconds }}
                then trace_id
        end as opened_by
    from without_session
),

numbered_sessions as (
    select
        *,
        count(opened_by) over (
            partition by unit_id {{ in_order }}
            rows between unbounded preceding and current row
        ) as session_number
    from openings
),

found_sessions as (
    select
        trace_id,
        'gap-' || max(opened_by) over (partition by unit_id, session_number) as session_id
    from numbered_sessions
),

in_sessions as (
    select
        turns.trace_id,
        turns.unit_id,
        coalesce(turns.session_id, found_sessions.session_id) as session_id,
        turns.session_id is not null as is_session_named,
        turns.turn_index,
        turns.started_at,
        turns.finished_at,
        turns.input_text,
        turns.input_hash,
        turns.input_embedding
    from turns
    left join found_sessions on turns.trace_id = found_sessions.trace_id
)

select
    trace_id,
    unit_id,
    session_id,
    is_session_named,
    started_at,
    finished_at,
    row_number() over (partition by session_id {{ in_order }}) as turn_number,
    lead(trace_id) over (partition by session_id {{ in_order }}) as next_trace_id,
    lead(started_at) over (partition by session_id {{ in_order }}) as next_started_at,
    -- In a conversation of several people, what one says next tells nothing about the answer to another.
    coalesce(lead(unit_id) over (partition by session_id {{ in_order }}) = unit_id, false) as is_next_of_same_unit,
    row_number() over (partition by unit_id {{ in_order }}) as unit_turn_number,
    lead(started_at) over (partition by unit_id {{ in_order }}) as next_of_unit_started_at,
    input_text,
    input_hash,
    input_embedding
from in_sessions
