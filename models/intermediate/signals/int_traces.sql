{#- One row per trace: of several of an id the latest load. Shadow traces are here, marked; nobody saw their answers. -#}
{{ config(enabled=evalhouse.has_input('traces')) }}
{%- set extra = evalhouse.extra_trace_columns() -%}
{%- set columns = evalhouse.trace_columns().keys() | list + extra.dimensions -%}
{%- set others = [] -%}
{%- set tie_breakers = [] -%}
{%- for column in columns if column not in ['trace_id', 'loaded_at', 'input_embedding'] -%}
    {%- do tie_breakers.append(column) -%}
{%- endfor -%}
{%- for column in extra.others -%}
    {%- do others.append(adapter.quote(column)) -%}
    {%- do tie_breakers.append('cast(' ~ adapter.quote(column) ~ ' as ' ~ dbt.type_string() ~ ')') -%}
{%- endfor -%}

with traces as (
    select * from {{ ref('evalhouse', 'stg_traces') }}
    where rejected_by is null
),

numbered as (
    select
        traces.*,
        {{ evalhouse.first_of_key(['trace_id'], 'loaded_at', tie_breakers) }} as row_of_key
    from traces
)

select
    {%- for column in columns + others %}
    {{ column }},
    {%- endfor %}
    is_answered
from numbered
where row_of_key = 1
