{%- set columns = {
    'outcome_id': 'text', 'unit_id': 'text', 'event_name': 'text', 'occurred_at': 'timestamp', 'value': 'double',
    'session_id': 'text', 'trace_id': 'text', 'actor': 'text', 'loaded_at': 'timestamp',
    'has_value': 'presence_of:value', 'stored_occurred_at': 'stored_time:occurred_at'
} -%}
{%- set extra_columns = evalhouse.columns_used_by_metrics('outcomes', evalhouse.raw_columns('outcomes'), columns) -%}

with typed as (
    {{ evalhouse.typed_input(
        'outcomes', columns,
        required=['outcome_id', 'unit_id', 'event_name', 'occurred_at'], extra_columns=extra_columns
    ) }}
)

select
    outcome_id,
    unit_id,
    event_name,
    occurred_at,
    -- NaN and infinity would swallow a whole sum; fourth powers of anything larger or smaller would leave the range.
    case
        when abs(value) < 1e-35 then 0
        when value between -1e35 and 1e35 then value
    end as value,
    session_id,
    trace_id,
    actor,
    {%- for column in extra_columns %}
    {{ adapter.quote(column) }},
    {%- endfor %}
    loaded_at,
    stored_occurred_at,
    has_value and coalesce(not (value between -1e35 and 1e35), true) as has_unusable_value,
    case
        when outcome_id is null or unit_id is null or event_name is null or occurred_at is null then 'missing_key'
        when occurred_at > {{ evalhouse.time_added('day', 1, 'loaded_at') }} then 'after_load'
        when occurred_at > {{ evalhouse.as_of_literal() }} then 'after_as_of'
    end as rejected_by
from typed
