{%- set columns = evalhouse.columns_used_by_metrics('outcomes', evalhouse.raw_columns('outcomes'), [
    'outcome_id', 'unit_id', 'event_name', 'occurred_at', 'value', 'session_id', 'trace_id', 'actor', 'loaded_at'
]) -%}
{%- set quoted_columns = [] -%}
{%- set extra_as_text = [] -%}
{%- for column in columns -%}
    {%- do quoted_columns.append(adapter.quote(column)) -%}
    {%- do extra_as_text.append('cast(' ~ adapter.quote(column) ~ ' as ' ~ dbt.type_string() ~ ')') -%}
{%- endfor -%}
{%- set kept = ['outcome_id', 'unit_id', 'event_name', 'occurred_at', 'value', 'session_id', 'trace_id', 'actor']
    + quoted_columns + ['loaded_at'] -%}

with outcomes as (
    select * from {{ ref('evalhouse', 'stg_outcomes') }}
    where rejected_by is null
),

-- Most ids come once: only the others have to be put in order.
repeated_ids as {{ evalhouse.materialized() }} (
    select outcome_id
    from outcomes
    group by outcome_id
    having count(*) > 1
),

numbered as (
    select
        outcomes.*,
        {{ evalhouse.first_of_key(
            ['outcomes.outcome_id'], 'loaded_at',
            ['occurred_at', 'unit_id', 'event_name', 'value', 'session_id', 'trace_id', 'actor'] + extra_as_text
        ) }} as row_of_key
    from outcomes
    inner join repeated_ids on outcomes.outcome_id = repeated_ids.outcome_id
)

select
    outcomes.{{ kept | join(',\n    outcomes.') }}
from outcomes
left join repeated_ids on outcomes.outcome_id = repeated_ids.outcome_id
where repeated_ids.outcome_id is null

union all

select
    {{ kept | join(',\n    ') }}
from numbered
where row_of_key = 1
