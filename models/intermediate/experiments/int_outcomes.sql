{#-
    Accepted outcomes, each id once: kept and replaced by day. An incremental run reads the days from the lookback on,
    counted back from the newest row that it has, and leaves what is older alone. Everything is read again when other
    columns are wanted or the input is another one. Rows with an empty outcome_id mark days that were replaced.
-#}
{{ config(
    materialized='incremental',
    on_schema_change='sync_all_columns',
    sql_header=evalhouse.one_writer('int_outcomes'),
    **evalhouse.incremental_by(['occurred_on'])
) }}
{%- set settings = evalhouse.settings() -%}
{%- set columns = evalhouse.columns_used_by_metrics('outcomes', evalhouse.raw_columns('outcomes'), [
    'outcome_id', 'unit_id', 'event_name', 'occurred_at', 'value', 'session_id', 'trace_id', 'actor', 'loaded_at'
]) -%}
{%- set quoted_columns = [] -%}
{%- set extra_as_text = [] -%}
{%- for column in columns -%}
    {%- do quoted_columns.append(adapter.quote(column)) -%}
    {%- do extra_as_text.append('cast(' ~ adapter.quote(column) ~ ' as ' ~ dbt.type_string() ~ ')') -%}
{%- endfor -%}
{%- set kept = ['unit_id', 'event_name', 'occurred_at', 'value', 'session_id', 'trace_id', 'actor'] + quoted_columns
    + ['loaded_at'] -%}
{%- set definition_hash = local_md5(tojson([kept, settings.raw_schema, settings.source_tables], sort_keys=true)) -%}
{%- set forever_ago = "cast('0001-01-01' as date)" %}

with staged as (
    select * from {{ ref('evalhouse', 'stg_outcomes') }}
    where rejected_by is null
),

no_outcomes as (
    select * from {{ ref('evalhouse', 'stg_outcomes') }}
    where 1 = 0
),

{%- if is_incremental() %}

stored as (
    select
        max(case when outcome_id <> '' then occurred_on end) as newest_date,
        min(definition_hash) as first_hash,
        max(definition_hash) as last_hash
    from {{ this }}
),

reach as (
    select
        case
            when newest_date is null or first_hash is null
                or first_hash <> '{{ definition_hash }}' or last_hash <> '{{ definition_hash }}'
                then {{ forever_ago }}
            {%- if settings.analysis.as_of %}
            when newest_date > cast({{ evalhouse.as_of_literal() }} as date)
                then cast({{ evalhouse.time_added(
                    'day', -settings.analysis.lookback_days, 'cast(' ~ evalhouse.as_of_literal() ~ ' as date)'
                ) }} as date)
            {%- endif %}
            else cast({{ evalhouse.time_added('day', -settings.analysis.lookback_days, 'newest_date') }} as date)
        end as reaches_from
    from stored
),

recent_outcomes as (
    select * from staged
    where
        occurred_at >= (select cast(reaches_from as {{ dbt.type_timestamp() }}) from reach)
        -- The same, for an engine to skip the raw table's older days.
        and stored_occurred_at >= (select cast(reaches_from as {{ dbt.type_timestamp() }}) from reach)
),

earlier_ids as (
    select distinct stored_outcomes.outcome_id
    from {{ this }} as stored_outcomes
    inner join recent_outcomes on stored_outcomes.outcome_id = recent_outcomes.outcome_id
    where stored_outcomes.occurred_on < (select reaches_from from reach)
),

-- An id that is kept on an earlier day stays there.
outcomes as (
    select recent_outcomes.*
    from recent_outcomes
    left join earlier_ids on recent_outcomes.outcome_id = earlier_ids.outcome_id
    where earlier_ids.outcome_id is null
),

replaced_dates as (
    select distinct occurred_on
    from {{ this }}
    where occurred_on >= (select reaches_from from reach)
),
{%- else %}

outcomes as (
    select * from staged
),
{%- endif %}

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
),

distinct_outcomes as (
    select
        outcomes.outcome_id,
        outcomes.{{ kept | join(',\n        outcomes.') }}
    from outcomes
    left join repeated_ids on outcomes.outcome_id = repeated_ids.outcome_id
    where repeated_ids.outcome_id is null

    union all

    select
        outcome_id,
        {{ kept | join(',\n        ') }}
    from numbered
    where row_of_key = 1
),

-- What the rows were made with stands beside them, on a date of its own.
marks as (
    select {{ evalhouse.current_look() }} as occurred_on
    {%- if is_incremental() %}

    union all

    select occurred_on from replaced_dates
    where occurred_on <> {{ evalhouse.current_look() }}
    {%- endif %}
)

select
    outcome_id,
    cast(occurred_at as date) as occurred_on,
    cast(null as {{ dbt.type_string() }}) as definition_hash,
    {{ kept | join(',\n    ') }}
from distinct_outcomes

union all

select
    '' as outcome_id,
    marks.occurred_on,
    '{{ definition_hash }}' as definition_hash,
    no_outcomes.{{ kept | join(',\n    no_outcomes.') }}
from marks
left join no_outcomes on 1 = 0
