{#- One row per trace: of several of an id the latest load. Shadow traces are here, and marked: nobody saw their
    answers. -#}
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

with staged_traces as (
    select * from {{ ref('evalhouse', 'stg_traces') }}
),

accepted as {{ evalhouse.materialized() }} (
    select * from staged_traces
    where rejected_by is null
),

repeated as (
    select trace_id
    from accepted
    group by trace_id
    having count(*) > 1
),

-- Only these are put in order: to sort every trace by all of its columns would cost more than all the rest.
numbered as (
    select
        accepted.*,
        {{ evalhouse.first_of_key(['accepted.trace_id'], 'loaded_at', tie_breakers) }} as row_of_key
    from accepted
    inner join repeated on accepted.trace_id = repeated.trace_id
)

select
    {%- for column in columns + others %}
    accepted.{{ column }},
    {%- endfor %}
    accepted.is_answered
from accepted
left join repeated on accepted.trace_id = repeated.trace_id
where repeated.trace_id is null

union all

select
    {%- for column in columns + others %}
    {{ column }},
    {%- endfor %}
    is_answered
from numbered
where row_of_key = 1
