{#- One row per answer that a user saw, with what the user's behaviour said about it. Columns of the log first. -#}
{%- set extra = evalhouse.extra_trace_columns() -%}

with traces as (
    select * from {{ ref('evalhouse', 'int_traces') }}
    where not is_shadow
),

signals as (
    select * from {{ ref('evalhouse', 'int_turn_signals') }}
)

select
    traces.trace_id,
    traces.unit_id,
    signals.session_id,
    coalesce(traces.turn_index, signals.turn_number) as turn_index,
    traces.started_at,
    traces.ended_at,
    traces.latency_ms,
    traces.ttft_ms,
    traces.input_text,
    traces.output_text,
    traces.input_hash,
    traces.output_hash,
    traces.input_chars,
    traces.output_chars,
    traces.input_tokens,
    traces.output_tokens,
    traces.cost_usd,
    traces.provider,
    traces.model_version,
    traces.prompt_version,
    traces.app_version,
    traces.environment,
    traces.status,
    traces.error_type,
    traces.finish_reason,
    traces.surface,
    traces.render_limit_chars,
    traces.language,
    traces.query_category,
    traces.sample_weight,
    {%- for name in extra.dimensions %}
    traces.{{ name }},
    {%- endfor %}
    {%- for name in extra.others %}
    traces.{{ adapter.quote(name) }},
    {%- endfor %}
    traces.is_answered,
    signals.next_trace_id,
    signals.next_gap_seconds,
    signals.next_similarity,
    signals.is_mature,
    signals.is_outcome_mature,
    signals.is_day_mature,
    signals.is_rephrased,
    signals.is_exact_retry,
    signals.is_followed_up,
    signals.is_last_turn,
    signals.is_abandoned,
    signals.abandon_kind,
    signals.repeats_previous,
    signals.is_copied,
    signals.is_retried,
    signals.is_regenerated,
    signals.is_stopped,
    signals.is_edited,
    signals.is_thumbed_up,
    signals.is_thumbed_down,
    signals.is_rated,
    signals.rating,
    signals.is_completed,
    signals.is_converted,
    signals.is_escalated,
    signals.is_overridden,
    signals.is_returned_to,
    traces.output_chars > traces.render_limit_chars as is_over_render_limit,
    signals.turn_number,
    traces.loaded_at
from traces
inner join signals on traces.trace_id = signals.trace_id
