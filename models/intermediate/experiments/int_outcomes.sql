{#- Accepted outcomes, each id once: kept and replaced by day. -#}
{{ config(
    materialized='incremental',
    on_schema_change='sync_all_columns',
    sql_header=evalhouse.one_writer('int_outcomes'),
    **evalhouse.incremental_by(['occurred_on'])
) }}
{%- set columns = [
    'unit_id', 'event_name', 'occurred_at', 'value', 'session_id', 'trace_id', 'actor'
] -%}
{%- set tie_breakers = ['occurred_at', 'unit_id', 'event_name', 'value', 'session_id', 'trace_id', 'actor'] -%}
{%- for column in evalhouse.columns_used_by_metrics(
    'outcomes', evalhouse.raw_columns('outcomes'), ['outcome_id', 'loaded_at'] + columns
) -%}
    {%- do columns.append(adapter.quote(column)) -%}
    {%- do tie_breakers.append('cast(' ~ adapter.quote(column) ~ ' as ' ~ dbt.type_string() ~ ')') -%}
{%- endfor %}

{{ evalhouse.kept_by_day(
    'outcomes', 'outcome_id', 'occurred_at', 'occurred_on', columns + ['loaded_at'], tie_breakers
) }}
