{%- set columns = evalhouse.columns_used_by_metrics('outcomes', evalhouse.raw_columns('outcomes'), [
    'outcome_id', 'unit_id', 'event_name', 'occurred_at', 'value', 'session_id', 'trace_id', 'actor', 'loaded_at'
]) -%}
{%- set quoted_columns = [] -%}
{%- set extra_as_text = [] -%}
{%- for column in columns -%}
    {%- do quoted_columns.append(adapter.quote(column)) -%}
    {%- do extra_as_text.append('cast(' ~ adapter.quote(column) ~ ' as ' ~ dbt.type_string() ~ ')') -%}
{%- endfor -%}

with outcomes as (
    select * from {{ ref('evalhouse', 'stg_outcomes') }}
    where rejected_by is null
),

numbered as (
    select
        *,
        {{ evalhouse.first_of_key(
            ['outcome_id'], 'loaded_at',
            ['occurred_at', 'unit_id', 'event_name', 'value', 'session_id', 'trace_id', 'actor'] + extra_as_text
        ) }} as row_of_key
    from outcomes
)

select
    outcome_id,
    unit_id,
    event_name,
    occurred_at,
    value,
    session_id,
    trace_id,
    actor,
    {%- for column in quoted_columns %}
    {{ column }},
    {%- endfor %}
    loaded_at
from numbered
where row_of_key = 1
