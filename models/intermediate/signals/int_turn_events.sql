{#- What people did with each answer. An event belongs to the trace it names; one that names none, to the latest turn
    before it of its session, or where it names no session either, of its unit. Only the time after the turn counts in
    which every turn is watched: `signals.abandonment_minutes`, and a day for what takes longer. -#}
{%- set window_seconds = evalhouse.settings().signals.abandonment_minutes * 60 -%}
{%- set quick = {
    'is_copied': 'copy', 'is_retried': 'retry', 'is_regenerated': 'regenerate', 'is_stopped': 'stop',
    'is_edited': 'edit', 'is_thumbed_up': 'thumbs_up', 'is_thumbed_down': 'thumbs_down', 'is_rated': 'rating',
    'is_completed': 'task_complete', 'is_converted': 'conversion'
} -%}
{%- set slow = {
    'is_escalated': 'escalation', 'is_overridden': 'human_override', 'is_returned_to': 'return_visit'
} -%}
{%- set event_names = quick.values() | list + slow.values() | list -%}

with turns as (
    select * from {{ ref('evalhouse', 'int_session_turns') }}
    where trace_id <> ''
),

outcomes as (
    select * from {{ ref('evalhouse', 'int_outcomes') }}
    where outcome_id <> '' and event_name in ('{{ event_names | join("', '") }}')
),

named_sessions as (
    select distinct session_id from turns
    where is_session_named
),

events as (
    select
        outcomes.trace_id,
        named_sessions.session_id,
        -- Its session is of no turn: then it may belong to a turn that was logged without one.
        outcomes.session_id is not null and named_sessions.session_id is null as is_of_unknown_session,
        outcomes.unit_id,
        outcomes.event_name,
        outcomes.occurred_at,
        outcomes.value,
        coalesce(lower(outcomes.actor), 'user') as actor
    from outcomes
    left join named_sessions on outcomes.session_id = named_sessions.session_id
),

events_of_units as (
    select * from events
    where trace_id is null and session_id is null
),

events_of_sessions as (
    select * from events
    where trace_id is null and session_id is not null
),

unit_timeline as (
    select
        unit_id,
        started_at as happened_at,
        0 as is_event,
        unit_turn_number,
        false as is_of_unknown_session,
        cast(null as {{ dbt.type_string() }}) as event_name,
        cast(null as {{ evalhouse.type_double() }}) as value,
        cast(null as {{ dbt.type_string() }}) as actor
    from turns
    where unit_id in (select events_of_units.unit_id from events_of_units)

    union all

    select
        unit_id,
        occurred_at as happened_at,
        1 as is_event,
        cast(null as {{ dbt.type_bigint() }}) as unit_turn_number,
        is_of_unknown_session,
        event_name,
        value,
        actor
    from events_of_units
),

unit_events as (
    select
        *,
        max(unit_turn_number) over (
            partition by unit_id order by happened_at, is_event
            range between unbounded preceding and current row
        ) as latest_turn_number
    from unit_timeline
),

session_timeline as (
    select
        session_id,
        started_at as happened_at,
        0 as is_event,
        turn_number,
        cast(null as {{ dbt.type_string() }}) as event_name,
        cast(null as {{ evalhouse.type_double() }}) as value,
        cast(null as {{ dbt.type_string() }}) as actor
    from turns
    where session_id in (select events_of_sessions.session_id from events_of_sessions)

    union all

    select
        session_id,
        occurred_at as happened_at,
        1 as is_event,
        cast(null as {{ dbt.type_bigint() }}) as turn_number,
        event_name,
        value,
        actor
    from events_of_sessions
),

session_events as (
    select
        *,
        max(turn_number) over (
            partition by session_id order by happened_at, is_event
            range between unbounded preceding and current row
        ) as latest_turn_number
    from session_timeline
),

events_of_turns as (
    select
        turns.trace_id,
        turns.started_on,
        turns.started_at,
        turns.finished_at,
        events.event_name,
        events.occurred_at,
        events.value,
        events.actor
    from events
    inner join turns on events.trace_id = turns.trace_id

    union all

    select
        turns.trace_id,
        turns.started_on,
        turns.started_at,
        turns.finished_at,
        unit_events.event_name,
        unit_events.happened_at as occurred_at,
        unit_events.value,
        unit_events.actor
    from unit_events
    inner join turns
        on unit_events.unit_id = turns.unit_id
        and unit_events.latest_turn_number = turns.unit_turn_number
    where
        unit_events.is_event = 1
        and not (unit_events.is_of_unknown_session and turns.is_session_named)

    union all

    select
        turns.trace_id,
        turns.started_on,
        turns.started_at,
        turns.finished_at,
        session_events.event_name,
        session_events.happened_at as occurred_at,
        session_events.value,
        session_events.actor
    from session_events
    inner join turns
        on session_events.session_id = turns.session_id
        and session_events.latest_turn_number = turns.turn_number
    where session_events.is_event = 1
),

timed as (
    select
        *,
        {{ evalhouse.seconds_between('finished_at', 'occurred_at') }} <= {{ window_seconds }} as is_in_window
    from events_of_turns
    where
        {{ evalhouse.seconds_between('finished_at', 'occurred_at') }} <= 86400
        -- One that names its trace may seem to come before it: clocks differ, but not by more than a minute.
        and {{ evalhouse.seconds_between('started_at', 'occurred_at') }} >= -60
)

select
    trace_id,
    started_on,
    {%- for column, event_name in quick.items() %}
    max(case when is_in_window and event_name = '{{ event_name }}' then 1 else 0 end) = 1 as {{ column }},
    {%- endfor %}
    {%- for column, event_name in slow.items() %}
    max(case when event_name = '{{ event_name }}' then 1 else 0 end) = 1 as {{ column }},
    {%- endfor %}
    avg(case when is_in_window and event_name = 'rating' then value end) as rating,
    -- The answer served: no later silence makes it an abandoned one.
    max(case
        when is_in_window and event_name in ('copy', 'task_complete', 'thumbs_up', 'conversion') then 1 else 0
    end) = 1 as has_good_end,
    -- Still at it, one way or another.
    max(case
        when is_in_window and actor = 'user' and event_name in (
            'retry', 'regenerate', 'edit', 'escalation', 'return_visit'
        ) then 1 else 0
    end) = 1 as has_activity
from timed
group by trace_id, started_on
