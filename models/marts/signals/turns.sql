{#- One row per answer that a user saw, with what the user's behaviour said about it. Columns of the log first. A view:
    what is said is kept by day, and only that a session was taken up again long after stands in the later turn. -#}
{%- set extra = evalhouse.extra_trace_columns() -%}

with signals as (
    select * from {{ evalhouse.ref_in_file('int_turn_signals') }}
    where trace_id <> ''
),

session_turns as (
    select * from {{ evalhouse.ref_in_file('int_session_turns') }}
    where resumes_trace_id is not null
),

pairs as (
    select * from {{ evalhouse.ref_in_file('int_turn_pairs') }}
    where trace_id <> ''
),

resumed as (
    select
        session_turns.resumes_trace_id as trace_id,
        session_turns.trace_id as next_trace_id,
        session_turns.started_at as next_started_at,
        pairs.next_similarity
    from session_turns
    left join pairs
        on session_turns.resumes_trace_id = pairs.trace_id
        and session_turns.trace_id = pairs.next_trace_id
)

select
    signals.trace_id,
    unit_id,
    session_id,
    coalesce(turn_index, turn_number) as turn_index,
    started_at,
    ended_at,
    latency_ms,
    ttft_ms,
    input_text,
    output_text,
    input_hash,
    output_hash,
    input_chars,
    output_chars,
    input_tokens,
    output_tokens,
    cost_usd,
    provider,
    model_version,
    prompt_version,
    app_version,
    environment,
    status,
    error_type,
    finish_reason,
    surface,
    render_limit_chars,
    language,
    query_category,
    sample_weight,
    {%- for name in extra.dimensions %}
    signals.{{ name }},
    {%- endfor %}
    {%- for name in extra.others %}
    signals.{{ adapter.quote(name) }},
    {%- endfor %}
    is_answered,
    coalesce(signals.next_trace_id, resumed.next_trace_id) as next_trace_id,
    coalesce(
        signals.next_gap_seconds,
        {{ evalhouse.seconds_between('coalesce(signals.ended_at, signals.started_at)', 'resumed.next_started_at') }}
    ) as next_gap_seconds,
    coalesce(signals.next_similarity, resumed.next_similarity) as next_similarity,
    is_mature,
    is_outcome_mature,
    is_day_mature,
    is_rephrased,
    is_exact_retry,
    is_followed_up,
    coalesce(signals.next_trace_id, resumed.next_trace_id) is null as is_last_turn,
    is_abandoned,
    abandon_kind,
    repeats_previous,
    is_copied,
    is_retried,
    is_regenerated,
    is_stopped,
    is_edited,
    is_thumbed_up,
    is_thumbed_down,
    is_rated,
    rating,
    is_completed,
    is_converted,
    is_escalated,
    is_overridden,
    is_returned_to,
    output_chars > render_limit_chars as is_over_render_limit,
    turn_number,
    loaded_at
from signals
left join resumed on signals.trace_id = resumed.trace_id
