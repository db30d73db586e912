{#- Each turn with what the user's behaviour says about it. A signal is null until the time in which it could show has
    passed: neither yes nor no. Two clocks: turns need the traces to have come that far, what comes from outcomes needs
    the outcomes too, so that a dead stream of outcomes leaves rephrases alone. Kept by day: what is said of a turn is
    settled when its windows are over and nothing more can come of them. -#}
{{ config(
    materialized='incremental',
    on_schema_change='append_new_columns',
    sql_header=evalhouse.one_writer('int_turn_signals'),
    **evalhouse.incremental_by(['started_on'])
) }}
{%- set signals = evalhouse.settings().signals -%}
{%- set has_outcomes = evalhouse.has_input('outcomes') -%}
{%- set abandonment_seconds = (signals.abandonment_minutes * 60) | round | int -%}
{%- set longest_seconds = [signals.rephrase_window_seconds, signals.follow_up_window_seconds, abandonment_seconds]
    | max -%}
{%- set event_flags = [
    'is_copied', 'is_retried', 'is_regenerated', 'is_stopped', 'is_edited', 'is_thumbed_up', 'is_thumbed_down',
    'is_rated', 'is_completed', 'is_converted', 'is_escalated', 'is_overridden', 'is_returned_to'
] -%}
{%- set extra = evalhouse.extra_trace_columns() -%}
{%- set log_columns = evalhouse.trace_columns().keys() | reject('in', [
    'trace_id', 'session_id', 'input_embedding', 'is_shadow', 'shadow_of_trace_id'
]) | list + extra.dimensions -%}
{%- for column in extra.others -%}
    {%- do log_columns.append(adapter.quote(column)) -%}
{%- endfor -%}
{%- set bad_status = "status in ('error', 'timeout', 'refusal')" -%}
{%- set clocks = ['is_mature', 'is_outcome_mature', 'is_day_mature', 'are_outcomes_known'] -%}
{%- set watched_days = evalhouse.watched_days() -%}
{%- set definition_hash = local_md5(tojson(evalhouse.turns_definition(), sort_keys=true)) -%}
{%- set said_columns = [
    'is_answered', 'turn_number', 'next_trace_id', 'next_gap_seconds', 'next_similarity', 'is_mature',
    'is_outcome_mature', 'is_day_mature', 'is_rephrased', 'is_exact_retry', 'is_followed_up', 'is_abandoned',
    'abandon_kind', 'repeats_previous'
] + event_flags + ['rating'] -%}
{%- set string = dbt.type_string() %}


with all_turns as (
    select * from {{ ref('evalhouse', 'int_session_turns') }}
    where trace_id <> ''
),

all_traces as (
    select * from {{ ref('evalhouse', 'int_traces') }}
    where trace_id <> '' and not is_shadow
),

all_pairs as (
    select * from {{ ref('evalhouse', 'int_turn_pairs') }}
),

events as (
    select * from {{ ref('evalhouse', 'int_turn_events') }}
),

watermarks as (
    {{ evalhouse.fact_watermarks(['traces'] + (['outcomes'] if has_outcomes else [])) | indent(4) }}
),

ages as (
    select
        all_turns.*,
        {{ evalhouse.seconds_between('all_turns.finished_at', 'watermarks.traces_watermark_at') }} as traces_age,
        {%- if has_outcomes %}
        {{ evalhouse.seconds_between('all_turns.finished_at', 'watermarks.outcomes_watermark_at') }} as outcomes_age
        {%- else %}
        cast(null as {{ evalhouse.type_double() }}) as outcomes_age
        {%- endif %}
    from all_turns
    cross join watermarks
),

matured as (
    select
        *,
        coalesce(traces_age >= {{ longest_seconds }}, false) as is_mature,
        coalesce(
            traces_age >= {{ longest_seconds }} and outcomes_age >= {{ abandonment_seconds }}, false
        ) as is_outcome_mature,
        coalesce(traces_age >= 86400 and outcomes_age >= 86400, false) as is_day_mature,
        -- A stream of outcomes that stopped less than a day before is taken to be quiet.
        coalesce(
            traces_age >= {{ longest_seconds }} and outcomes_age >= {{ abandonment_seconds - 86400 }}, false
        ) as are_outcomes_known
    from ages
),

matured_days as (
    select
        started_on,
        {%- for clock in clocks %}
        cast(count(case when {{ clock }} then 1 end) as {{ string }}) || ' ' ||
        {%- endfor %}
        cast(count(*) as {{ string }}) as counted
    from matured
    group by started_on
),

hashed_events as (
    select
        events.started_on,
        {{ evalhouse.row_hash('events', ['trace_id'] + event_flags + ['rating', 'has_good_end', 'has_activity']) }}
            as event_hash
    from events
),

event_days as (
    select
        started_on,
        -- Digits out of a hash, so few that the sum of a day stays within the type.
        sum(cast(translate(substr(event_hash, 1, 9), 'abcdef', '012345') as {{ dbt.type_bigint() }})) as content
    from hashed_events
    group by started_on
),

session_days as (
    select * from {{ ref('evalhouse', 'int_session_turns') }}
    where definition_hash is not null and day_state is not null
),

pair_days as (
    select * from all_pairs
    where definition_hash is not null and day_state is not null
),

definition as (
    select {{ dbt.hash("'" ~ definition_hash ~ " ' || coalesce(max(definition_hash), '')") }} as definition_hash
    from pair_days
),

day_states as (
    select
        session_days.started_on as state_date,
        session_days.day_state
        || ', ' || coalesce(pair_days.day_state, '')
        || ', ' || coalesce(matured_days.counted, '')
        || ', ' || coalesce(cast(event_days.content as {{ string }}), '') as day_state
    from session_days
    left join pair_days on session_days.started_on = pair_days.next_started_on
    left join matured_days on session_days.started_on = matured_days.started_on
    left join event_days on session_days.started_on = event_days.started_on
),

{{ evalhouse.replaced_days('started_on', watched_days) }},

-- What came before the replaced days may be what their first turns say again.
turns as (
    select * from matured
    {%- if is_incremental() %}
    where started_on >= (
        select cast({{ evalhouse.time_added('day', -watched_days, 'replaced_from') }} as date) from reach
    )
    {%- endif %}
),

replaced_turns as (
    select
        *,
        {{ evalhouse.seconds_between('finished_at', 'next_started_at') }} as next_gap_seconds,
        {{ evalhouse.seconds_between('finished_at', 'next_of_unit_started_at') }} as silence_seconds
    from turns
    {%- if is_incremental() %}
    where started_on >= (select replaced_from from reach)
    {%- endif %}
),

traces as (
    select * from all_traces
    {%- if is_incremental() %}
    where started_on >= (select replaced_from from reach)
    {%- endif %}
),

-- Pairs are kept by the day of the second turn.
pairs as (
    select * from all_pairs
    where
        trace_id <> ''
        {%- if is_incremental() %}
        and next_started_on >= (select replaced_from from reach)
        {%- endif %}
),

-- Turns that say the one before again: few, so that looking for them costs less than putting all turns in order again.
repeats as (
    select turns.next_trace_id as trace_id
    from pairs
    inner join turns
        on pairs.trace_id = turns.trace_id
        and pairs.next_trace_id = turns.next_trace_id
    left join events on pairs.trace_id = events.trace_id
    where
        turns.is_next_of_same_unit
        and {{ evalhouse.seconds_between('turns.finished_at', 'turns.next_started_at') }}
            between 0 and {{ signals.rephrase_window_seconds }}
        and (pairs.is_next_rephrase or (pairs.is_next_equal and not coalesce(events.is_regenerated, false)))
),

observed as (
    select
        replaced_turns.trace_id,
        {%- for column in log_columns %}
        traces.{{ column }},
        {%- endfor %}
        replaced_turns.started_on,
        replaced_turns.session_id,
        replaced_turns.turn_number,
        replaced_turns.is_mature,
        replaced_turns.is_outcome_mature,
        replaced_turns.is_day_mature,
        {%- if has_outcomes %}
        replaced_turns.are_outcomes_known,
        {%- else %}
        replaced_turns.is_mature as are_outcomes_known,
        {%- endif %}
        replaced_turns.silence_seconds,
        replaced_turns.next_trace_id,
        replaced_turns.next_gap_seconds,
        pairs.next_similarity,
        pairs.is_next_rephrase,
        pairs.is_next_equal,
        pairs.is_next_rephrase or pairs.is_next_equal or pairs.is_next_acknowledgement as is_next_nothing_new,
        coalesce(
            replaced_turns.is_next_of_same_unit
            and replaced_turns.next_gap_seconds between 0 and {{ signals.rephrase_window_seconds }}, false
        ) as is_next_in_rephrase_window,
        coalesce(
            replaced_turns.is_next_of_same_unit
            and replaced_turns.next_gap_seconds between 0 and {{ signals.follow_up_window_seconds }}, false
        ) as is_next_in_follow_up_window,
        {%- for flag in event_flags %}
        coalesce(events.{{ flag }}, false) as {{ flag }},
        {%- endfor %}
        events.rating,
        coalesce(events.has_good_end, false) as has_good_end,
        coalesce(events.has_activity, false) as has_activity,
        traces.is_answered,
        traces.input_text is not null as has_text,
        traces.input_text is not null or traces.input_hash is not null as has_text_or_hash,
        coalesce(traces.{{ bad_status }} or traces.output_chars = 0, false) as has_failed,
        repeats.trace_id is not null as repeats_previous
    from replaced_turns
    inner join traces on replaced_turns.trace_id = traces.trace_id
    left join pairs
        on replaced_turns.trace_id = pairs.trace_id
        and replaced_turns.next_trace_id = pairs.next_trace_id
    left join events on replaced_turns.trace_id = events.trace_id
    left join repeats on replaced_turns.trace_id = repeats.trace_id
),

-- Null where texts and hashes do not tell. A turn without any is unknown also if nothing followed it: among such turns
-- only those without a next one could be judged, and the rate would be zero.
followed as (
    select
        *,
        case
            when has_text then case when is_next_in_rephrase_window then is_next_rephrase else false end
        end as has_rephrase,
        -- A regenerated answer is not something the user said again.
        case
            when has_text_or_hash
                then case when is_next_in_rephrase_window and not is_regenerated then is_next_equal else false end
        end as has_exact_retry,
        case
            when has_text then case when is_next_in_follow_up_window then not is_next_nothing_new else false end
        end as has_follow_up
    from observed
),

judged as (
    select
        *,
        -- Silence, whether or not the user comes back one day: the verdict on a closed day stays.
        coalesce(silence_seconds > {{ abandonment_seconds }}, true) as is_followed_by_silence
    from followed
),

final as (
    select
        *,
        has_failed or repeats_previous or is_thumbed_down or is_stopped as has_negative_signal,
        is_followed_by_silence and not has_good_end and not has_activity as was_left
    from judged
)

select
    trace_id,
    started_on,
    cast(null as {{ string }}) as definition_hash,
    cast(null as {{ string }}) as day_state,
    session_id,
    {%- for column in log_columns %}
    {{ column }},
    {%- endfor %}
    is_answered,
    turn_number,
    next_trace_id,
    next_gap_seconds,
    next_similarity,
    is_mature,
    {{ 'is_outcome_mature' if has_outcomes else 'is_mature' }} as is_outcome_mature,
    is_day_mature,
    case when is_mature then has_rephrase end as is_rephrased,
    case when is_mature then has_exact_retry end as is_exact_retry,
    case when is_mature then has_follow_up end as is_followed_up,
    -- Without an answer there is nothing to walk away from.
    case when are_outcomes_known and (is_answered or has_failed) then was_left end as is_abandoned,
    case
        when are_outcomes_known and (is_answered or has_failed) and was_left
            then case when has_negative_signal then 'after_negative' else 'unknown' end
    end as abandon_kind,
    repeats_previous,
    {%- for flag in event_flags %}
    {{ 'case when are_outcomes_known then ' ~ flag ~ ' end' if has_outcomes
        else 'cast(null as ' ~ dbt.type_boolean() ~ ')' }} as {{ flag }},
    {%- endfor %}
    case when are_outcomes_known then rating end as rating
from final

union all

select
    '' as trace_id,
    started_on,
    definition_hash,
    day_state,
    null as session_id
    {%- for column in log_columns + said_columns %},
    null as {{ column }}
    {%- endfor %}
from marked_days
