{#- Accepted traces, each id once: kept and replaced by day, so that a run reads the texts of old days no more. Shadow
    traces are here, and marked: nobody saw their answers. -#}
{{ config(
    materialized='incremental',
    on_schema_change='append_new_columns',
    sql_header=evalhouse.one_writer('int_traces'),
    **evalhouse.incremental_by(['started_on'])
) }}
{%- set columns = evalhouse.kept_trace_columns() -%}
{%- set typed_columns = evalhouse.trace_columns().keys() | list + evalhouse.extra_trace_columns().dimensions -%}
{%- set tie_breakers = [] -%}
{%- for column in columns if column not in ['loaded_at', 'input_embedding'] -%}
    {%- do tie_breakers.append(
        column if column in typed_columns else 'cast(' ~ column ~ ' as ' ~ dbt.type_string() ~ ')'
    ) -%}
{%- endfor %}

{{ evalhouse.kept_by_day(
    'traces', 'trace_id', 'started_at', 'started_on', columns + ['is_answered'], tie_breakers
) }}
