{#- One row per session of a unit. Model and dimensions are those of its first turn. -#}
{%- set extra = evalhouse.extra_trace_columns() -%}
{%- set dimensions = ['language', 'surface', 'query_category'] + extra.dimensions -%}
{%- set gap_seconds = (evalhouse.settings().signals.session_gap_minutes * 60) | round | int -%}
{%- set counted = {
    'rephrased_turns': 'is_rephrased', 'exact_retries': 'is_exact_retry', 'followed_up_turns': 'is_followed_up',
    'copied_turns': 'is_copied', 'stopped_turns': 'is_stopped', 'regenerated_turns': 'is_regenerated',
    'thumbs_up': 'is_thumbed_up', 'thumbs_down': 'is_thumbed_down', 'over_render_limit_turns': 'is_over_render_limit'
} -%}

with turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

watermarks as (
    {{ evalhouse.fact_watermarks(['traces']) | indent(4) }}
),

-- By itself: beside the other aggregates a distinct count nearly doubles the time of them all.
versions as (
    select
        session_id,
        count(distinct model_version) as model_versions
    from turns
    group by session_id
),

totals as (
    select
        session_id,
        min(case when turn_number = 1 then unit_id end) as unit_id,
        min(started_at) as started_at,
        max(coalesce(ended_at, started_at)) as ended_at,
        count(*) as turns,
        min(case when turn_number = 1 then trace_id end) as first_trace_id,
        min(case when is_last_turn then trace_id end) as last_trace_id,
        min(case when turn_number = 1 then model_version end) as model_version,
        min(case when turn_number = 1 then prompt_version end) as prompt_version,
        {%- for name in dimensions %}
        min(case when turn_number = 1 then {{ name }} end) as {{ name }},
        {%- endfor %}
        max(sample_weight) as sample_weight,
        sum(latency_ms) as latency_ms,
        sum(input_tokens) as input_tokens,
        sum(output_tokens) as output_tokens,
        sum(cost_usd) as cost_usd,
        cast(sum(case when status = 'ok' then 0 else 1 end) as {{ dbt.type_bigint() }}) as failed_turns,
        {%- for name, flag in counted.items() %}
        cast(
            sum(case when {{ flag }} then 1 when not {{ flag }} then 0 end) as {{ dbt.type_bigint() }}
        ) as {{ name }},
        {%- endfor %}
        min(case when is_mature then 1 else 0 end) = 1 as has_only_mature_turns,
        min(case when is_last_turn and is_abandoned then 1 when is_last_turn and not is_abandoned then 0 end) = 1
            as is_abandoned,
        min(case when is_last_turn then abandon_kind end) as abandon_kind,
        max(case when is_completed then 1 when not is_completed then 0 end) = 1 as is_completed,
        max(case when is_escalated then 1 when not is_escalated then 0 end) = 1 as is_escalated,
        max(loaded_at) as loaded_at
    from turns
    group by session_id
)

select
    totals.session_id,
    totals.unit_id,
    totals.started_at,
    totals.ended_at,
    {{ evalhouse.seconds_between('totals.started_at', 'totals.ended_at') }} as duration_seconds,
    totals.turns,
    totals.first_trace_id,
    totals.last_trace_id,
    totals.model_version,
    versions.model_versions,
    totals.prompt_version,
    {%- for name in dimensions %}
    totals.{{ name }},
    {%- endfor %}
    totals.sample_weight,
    totals.latency_ms,
    totals.input_tokens,
    totals.output_tokens,
    totals.cost_usd,
    totals.failed_turns,
    {%- for name in counted %}
    totals.{{ name }},
    {%- endfor %}
    -- Nothing more is to be expected of it: the unit was silent for as long as starts a new session.
    totals.has_only_mature_turns
    and coalesce(
        {{ evalhouse.seconds_between('totals.ended_at', 'watermarks.traces_watermark_at') }} >= {{ gap_seconds }}, false
    ) as is_mature,
    totals.is_abandoned,
    totals.abandon_kind,
    totals.is_completed,
    totals.is_escalated,
    totals.loaded_at
from totals
inner join versions on totals.session_id = versions.session_id
cross join watermarks
