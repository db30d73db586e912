{#- The turns that failed, each with what it takes to look at it. -#}
{%- set rules = evalhouse.failure_mode_rules() -%}
{%- set at_once = ['logged', 'measured', 'rendered', 'finished', 'worded'] %}

with turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

repeated_turns as (
    select * from {{ ref('evalhouse', 'int_repeated_turns') }}
),

watched as (
    select
        turns.*,
        coalesce(repeated_turns.repeats_in_a_row, 0) as repeats_in_a_row
    from turns
    left join repeated_turns on turns.trace_id = repeated_turns.trace_id
),

judged as {{ evalhouse.materialized() }} (
    select
        *
        {%- for rule in rules %},
        case when {{ evalhouse.known_condition(rule) }} then 1 else 0 end as {{ rule.name }}__event
        {%- endfor %}
    from watched
),

counted as (
    select
        *,
        {% for rule in rules %}{{ ' + ' if not loop.first }}{{ rule.name }}__event{% endfor %} as failure_mode_count,
        {% for rule in rules if rule.base in at_once %}{{ ' + ' if not loop.first }}{{ rule.name }}__event
        {%- endfor %} as modes_at_once,
        {%- for rule in rules %}
        {{ '|| ' if not loop.first }}case when {{ rule.name }}__event = 1 then ', {{ rule.name }}' else '' end
        {%- endfor %} as joined_modes
    from judged
)

select
    trace_id,
    case
        {%- for rule in rules %}
        when {{ rule.name }}__event = 1 then '{{ rule.name }}'
        {%- endfor %}
    end as primary_mode,
    substring(joined_modes, 3) as failure_modes,
    failure_mode_count,
    modes_at_once = 0 as is_behaviour_only,
    session_id,
    unit_id,
    cast(turn_number as {{ dbt.type_bigint() }}) as turn_number,
    started_at,
    model_version,
    prompt_version,
    app_version,
    environment,
    language,
    query_category,
    surface,
    status,
    error_type,
    finish_reason,
    latency_ms,
    output_chars,
    input_text,
    output_text,
    next_trace_id,
    next_gap_seconds,
    sample_weight,
    is_mature
from counted
where failure_mode_count > 0
