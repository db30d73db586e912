{#- The turns that people saw, in the order in which they came: within the session, and among all turns of the unit.
    Sessions are those the log names; turns without one make a new session where the unit was silent for longer than
    `signals.session_gap_minutes`. Kept by day: what comes before the days that are replaced is only looked up, and what
    follows a turn is told for as long as it is watched. A session that is taken up again later says so in its later
    turn (`resumes_trace_id`), so that no old day has to be written again. -#}
{{ config(
    materialized='incremental',
    on_schema_change='append_new_columns',
    sql_header=evalhouse.one_writer('int_session_turns'),
    **evalhouse.incremental_by(['started_on'])
) }}
{%- set gap_seconds = evalhouse.settings().signals.session_gap_minutes * 60 -%}
{%- set watched_days = evalhouse.watched_days() -%}
{%- set in_order = 'order by started_at, turn_index nulls last, trace_id' -%}
{%- set string = dbt.type_string() -%}
{%- set bigint = dbt.type_bigint() -%}
{%- set definition_hash = local_md5(tojson([
    evalhouse.input_definition('traces', evalhouse.kept_trace_columns()), gap_seconds, watched_days
], sort_keys=true)) %}

with traces as (
    select * from {{ ref('evalhouse', 'int_traces') }}
    where trace_id <> '' and not is_shadow
),

trace_days as (
    select * from {{ ref('evalhouse', 'int_traces') }}
    where trace_id = '' and started_on <> {{ evalhouse.current_look() }}
),

definition as (
    select '{{ definition_hash }}' as definition_hash
),

day_states as (
    select
        started_on as state_date,
        day_version as day_state
    from trace_days
),

{{ evalhouse.replaced_days('started_on', watched_days) }},

turns as (
    select
        trace_id,
        unit_id,
        session_id,
        turn_index,
        started_on,
        started_at,
        coalesce(ended_at, started_at) as finished_at
    from traces
    {%- if is_incremental() %}
    where started_on >= (select replaced_from from reach)
    {%- endif %}
),

earlier_turns as (
    {%- if is_incremental() %}
    select
        trace_id,
        unit_id,
        session_id,
        is_session_named,
        started_on,
        finished_at,
        turn_number,
        unit_turn_number
    from {{ this }}
    where definition_hash is null and started_on < (select replaced_from from reach)
    {%- else %}
    select
        trace_id,
        unit_id,
        session_id,
        false as is_session_named,
        started_on,
        finished_at,
        cast(null as {{ bigint }}) as turn_number,
        cast(null as {{ bigint }}) as unit_turn_number
    from turns
    where 1 = 0
    {%- endif %}
),

earlier_units as (
    select
        unit_id,
        max(unit_turn_number) as turns_before,
        max(case when not is_session_named then unit_turn_number end) as last_without_session
    from earlier_turns
    where unit_id in (select turns.unit_id from turns)
    group by unit_id
),

last_without_session as (
    select
        earlier_turns.unit_id,
        earlier_turns.session_id,
        earlier_turns.finished_at
    from earlier_turns
    inner join earlier_units
        on earlier_turns.unit_id = earlier_units.unit_id
        and earlier_turns.unit_turn_number = earlier_units.last_without_session
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
        without_session.*,
        last_without_session.session_id as earlier_session_id,
        case
            when coalesce({{ evalhouse.seconds_between(
                'coalesce(without_session.previous_finished_at, last_without_session.finished_at)',
                'without_session.started_at'
            ) }} > {{ gap_seconds }}, true)
                then without_session.trace_id
        end as opened_by
    from without_session
    left join last_without_session on without_session.unit_id = last_without_session.unit_id
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
        case
            when session_number = 0 then earlier_session_id
            else 'gap-' || max(opened_by) over (partition by unit_id, session_number)
        end as session_id
    from numbered_sessions
),

in_sessions as (
    select
        turns.trace_id,
        turns.unit_id,
        coalesce(turns.session_id, found_sessions.session_id) as session_id,
        turns.session_id is not null as is_session_named,
        turns.turn_index,
        turns.started_on,
        turns.started_at,
        turns.finished_at
    from turns
    left join found_sessions on turns.trace_id = found_sessions.trace_id
),

earlier_sessions as (
    select
        session_id,
        max(turn_number) as turns_before
    from earlier_turns
    where session_id in (select in_sessions.session_id from in_sessions)
    group by session_id
),

last_of_sessions as (
    select
        earlier_turns.session_id,
        earlier_turns.trace_id,
        earlier_turns.started_on,
        earlier_turns.turn_number
    from earlier_turns
    inner join earlier_sessions
        on earlier_turns.session_id = earlier_sessions.session_id
        and earlier_turns.turn_number = earlier_sessions.turns_before
),

ordered_turns as (
    select
        *,
        row_number() over (partition by session_id {{ in_order }}) as number_in_session,
        lag(trace_id) over (partition by session_id {{ in_order }}) as previous_trace_id,
        lag(started_on) over (partition by session_id {{ in_order }}) as previous_started_on,
        lead(trace_id) over (partition by session_id {{ in_order }}) as following_trace_id,
        lead(started_at) over (partition by session_id {{ in_order }}) as following_started_at,
        lead(unit_id) over (partition by session_id {{ in_order }}) as following_unit_id,
        row_number() over (partition by unit_id {{ in_order }}) as number_of_unit,
        lead(started_at) over (partition by unit_id {{ in_order }}) as next_of_unit_started_at
    from in_sessions
),

placed as (
    select
        ordered_turns.*,
        {{ evalhouse.time_added(
            'day', watched_days + 1, 'cast(ordered_turns.started_on as ' ~ dbt.type_timestamp() ~ ')'
        ) }} as watched_until,
        ordered_turns.number_in_session + coalesce(last_of_sessions.turn_number, 0) as turn_number,
        ordered_turns.number_of_unit + coalesce(earlier_units.turns_before, 0) as unit_turn_number,
        coalesce(ordered_turns.previous_trace_id, last_of_sessions.trace_id) as previous_of_session,
        coalesce(ordered_turns.previous_started_on, last_of_sessions.started_on) as previous_of_session_on
    from ordered_turns
    left join last_of_sessions on ordered_turns.session_id = last_of_sessions.session_id
    left join earlier_units on ordered_turns.unit_id = earlier_units.unit_id
)

select
    trace_id,
    started_on,
    cast(null as {{ string }}) as definition_hash,
    cast(null as {{ string }}) as day_state,
    unit_id,
    session_id,
    is_session_named,
    started_at,
    finished_at,
    turn_number,
    case when following_started_at < watched_until then following_trace_id end as next_trace_id,
    case when following_started_at < watched_until then following_started_at end as next_started_at,
    -- In a conversation of several people, what one says next tells nothing about the answer to another.
    coalesce(following_started_at < watched_until and following_unit_id = unit_id, false) as is_next_of_same_unit,
    case
        when previous_of_session_on < cast({{ evalhouse.time_added('day', -watched_days, 'started_on') }} as date)
            then previous_of_session
    end as resumes_trace_id,
    unit_turn_number,
    case when next_of_unit_started_at < watched_until then next_of_unit_started_at end as next_of_unit_started_at
from placed

union all

select
    '' as trace_id,
    started_on,
    definition_hash,
    day_state,
    cast(null as {{ string }}) as unit_id,
    cast(null as {{ string }}) as session_id,
    cast(null as {{ dbt.type_boolean() }}) as is_session_named,
    cast(null as {{ dbt.type_timestamp() }}) as started_at,
    cast(null as {{ dbt.type_timestamp() }}) as finished_at,
    cast(null as {{ bigint }}) as turn_number,
    cast(null as {{ string }}) as next_trace_id,
    cast(null as {{ dbt.type_timestamp() }}) as next_started_at,
    cast(null as {{ dbt.type_boolean() }}) as is_next_of_same_unit,
    cast(null as {{ string }}) as resumes_trace_id,
    cast(null as {{ bigint }}) as unit_turn_number,
    cast(null as {{ dbt.type_timestamp() }}) as next_of_unit_started_at
from marked_days
