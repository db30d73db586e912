{%- set columns = evalhouse.trace_columns() -%}
{%- set extra = evalhouse.extra_trace_columns() -%}
{%- for name in extra.dimensions -%}
    {%- do columns.update({name: 'text'}) -%}
{%- endfor -%}
{%- do columns.update({
    'has_output_text': 'presence_of:output_text', 'has_latency': 'presence_of:latency_ms',
    'stored_started_at': 'stored_time:started_at'
}) -%}
{#- A turn that has none of what an answer leaves behind was not answered, as far as the log tells. -#}
{%- set signs_of_an_answer = [
    'ended_at', 'latency_ms', 'ttft_ms', 'output_text', 'output_hash', 'output_chars', 'output_tokens'
] -%}
{%- set logged_signs = signs_of_an_answer | select('in', evalhouse.raw_columns('traces')) | list -%}
{%- set spellings = {
    'ok': ['ok', 'success', 'succeeded', 'complete', 'completed', 'unset', '200'],
    'error': [
        'error', 'fail', 'failed', 'failure', 'exception', 'rate_limited', 'rate_limit', 'throttled', 'overloaded',
        'internal_error', 'server_error', '429', '500', '502', '503'
    ],
    'timeout': ['timeout', 'timed_out', 'timedout', 'deadline_exceeded', '408', '504'],
    'refusal': ['refusal', 'refused', 'content_filter', 'blocked'],
    'cancelled': ['cancelled', 'canceled', 'aborted', 'interrupted']
} -%}
{%- set longest_turn_ms = 6 * 3600 * 1000 -%}

with typed as (
    {{ evalhouse.typed_input(
        'traces', columns, required=['trace_id', 'unit_id', 'started_at'], extra_columns=extra.others
    ) }}
),

clocked as (
    select
        *,
        1000 * {{ evalhouse.seconds_between('started_at', 'ended_at') }} as clock_ms,
        case lower(status)
            {%- for name, words in spellings.items() %}
            {%- for word in words %}
            when '{{ word }}' then '{{ name }}'
            {%- endfor %}
            {%- endfor %}
        end as known_status
    from typed
),

judged as (
    select
        *,
        case
            when clock_ms < 0 then 'end_before_start'
            when clock_ms > {{ longest_turn_ms }} then 'implausible_end'
        end as clock_fault,
        -- The clocks say a thousand times as much: the number is in seconds. A whole second of tolerance, because many
        -- clocks tick in seconds.
        clock_ms between 1000 and {{ longest_turn_ms }}
        and latency_ms > 0
        and latency_ms < clock_ms / 100
        and abs(1000 * latency_ms - clock_ms) <= 1000 + 0.1 * clock_ms as is_latency_in_seconds
    from clocked
),

repaired as (
    select
        *,
        case when clock_fault is null then ended_at end as sound_ended_at,
        case when is_latency_in_seconds then 1000 else 1 end as unit_factor
    from judged
),

timed as (
    select
        *,
        case
            when latency_ms * unit_factor between 0 and {{ longest_turn_ms }} then latency_ms * unit_factor
            when clock_fault is null then clock_ms
        end as sound_latency_ms
    from repaired
)

select
    trace_id,
    unit_id,
    session_id,
    case when turn_index between 0 and 1e15 then cast(turn_index as {{ dbt.type_bigint() }}) end as turn_index,
    started_at,
    coalesce(
        sound_ended_at,
        {{ evalhouse.time_added('millisecond', 'cast(sound_latency_ms as ' ~ dbt.type_bigint() ~ ')', 'started_at') }}
    ) as ended_at,
    sound_latency_ms as latency_ms,
    case
        when ttft_ms * unit_factor between 0 and {{ longest_turn_ms }} then ttft_ms * unit_factor
    end as ttft_ms,
    input_text,
    output_text,
    input_hash,
    output_hash,
    input_embedding,
    {{ evalhouse.sound_amount('input_chars', "length(input_text)") }} as input_chars,
    {{ evalhouse.sound_amount(
        'output_chars', "case when has_output_text then coalesce(length(output_text), 0) end"
    ) }} as output_chars,
    {{ evalhouse.sound_amount('input_tokens') }} as input_tokens,
    {{ evalhouse.sound_amount('output_tokens') }} as output_tokens,
    {{ evalhouse.sound_amount('cost_usd') }} as cost_usd,
    provider,
    model_version,
    prompt_version,
    app_version,
    environment,
    case
        when known_status is not null then known_status
        when error_type is not null then 'error'
        when lower(finish_reason) = 'content_filter' then 'refusal'
        else 'ok'
    end as status,
    error_type,
    finish_reason,
    surface,
    {{ evalhouse.sound_amount('render_limit_chars') }} as render_limit_chars,
    language,
    query_category,
    coalesce(is_shadow, false) or shadow_of_trace_id is not null as is_shadow,
    shadow_of_trace_id,
    case when sample_weight > 0 and sample_weight < 1e12 then sample_weight else 1 end as sample_weight,
    loaded_at,
    stored_started_at,
    {%- for name in extra.dimensions %}
    {{ name }},
    {%- endfor %}
    {%- for name in extra.others %}
    {{ adapter.quote(name) }},
    {%- endfor %}
    {%- for name in logged_signs %}
    {{ '' if loop.first else 'or ' }}{{ 'has_output_text' if name == 'output_text' else name ~ ' is not null' }}
    {%- else %}
    true
    {%- endfor %} as is_answered,
    clock_fault,
    is_latency_in_seconds,
    has_latency and coalesce(
        not (latency_ms * unit_factor between 0 and {{ longest_turn_ms }}), true
    ) as has_implausible_latency,
    sample_weight is not null and not (sample_weight > 0 and sample_weight < 1e12) as has_impossible_weight,
    coalesce(ttft_ms < 0 or input_chars < 0 or output_chars < 0 or input_tokens < 0 or output_tokens < 0
    or cost_usd < 0, false) as has_negative_amount,
    status is not null and known_status is null as has_unknown_status,
    case
        when trace_id is null or unit_id is null or started_at is null then 'missing_key'
        when started_at > {{ evalhouse.time_added('day', 1, 'loaded_at') }} then 'after_load'
        when started_at > {{ evalhouse.as_of_literal() }} then 'after_as_of'
    end as rejected_by
from timed
