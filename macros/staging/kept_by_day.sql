{#-
    Statement of an incremental model that keeps the accepted rows of an input, each id once, and replaces them by day:
    id, day, definition_hash and `columns`. A run reads the days from the lookback on, counted back from the newest row
    that it has, and leaves what is older alone. Everything is read again when other columns are wanted, when the raw
    table has got or lost one of them, or when the input is another one. Of several rows of an id the latest load is
    kept; the tie breakers make that independent of the order of arrival.

    Rows with an empty id are marks: of each day in which run it was last replaced (`day_version`), whether or not it
    has rows left, and on a date of its own of what the rows were made with.
-#}
{% macro kept_by_day(input_name, id, time, day, columns, tie_breakers) -%}
{%- set settings = evalhouse.settings() -%}
{%- set staged = ref('evalhouse', 'stg_' ~ input_name) -%}
{%- set timestamp = dbt.type_timestamp() -%}
{%- set definition_hash = local_md5(tojson(evalhouse.input_definition(input_name, columns), sort_keys=true)) -%}
{%- set forever_ago = "cast('0001-01-01' as date)" -%}
{%- if is_incremental() -%}
    {{ evalhouse._refuse_another_type(input_name, columns) }}
{%- endif -%}

with staged as (
    select * from {{ staged }}
    where rejected_by is null
),

no_row as (
    select * from {{ staged }}
    where 1 = 0
),

{%- if is_incremental() %}

stored as (
    select
        max(case when {{ id }} <> '' then {{ day }} end) as newest_date,
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

recent_rows as (
    select * from staged
    where
        {{ time }} >= (select cast(reaches_from as {{ timestamp }}) from reach)
        -- The same, for an engine to skip the raw table's older days.
        and stored_{{ time }} >= (select cast(reaches_from as {{ timestamp }}) from reach)
),

earlier_ids as (
    select distinct stored_rows.{{ id }}
    from {{ this }} as stored_rows
    inner join recent_rows on stored_rows.{{ id }} = recent_rows.{{ id }}
    where stored_rows.{{ day }} < (select reaches_from from reach)
),

-- An id that is kept on an earlier day stays there.
rows_read as (
    select recent_rows.*
    from recent_rows
    left join earlier_ids on recent_rows.{{ id }} = earlier_ids.{{ id }}
    where earlier_ids.{{ id }} is null
),

replaced_dates as (
    select distinct {{ day }}
    from {{ this }}
    where {{ day }} >= (select reaches_from from reach)
),
{%- else %}

rows_read as (
    select * from staged
),
{%- endif %}

-- Most ids come once: only the others have to be put in order.
repeated_ids as {{ evalhouse.materialized() }} (
    select {{ id }}
    from rows_read
    group by {{ id }}
    having count(*) > 1
),

numbered as (
    select
        rows_read.*,
        {{ evalhouse.first_of_key(['rows_read.' ~ id], 'loaded_at', tie_breakers) }} as row_of_key
    from rows_read
    inner join repeated_ids on rows_read.{{ id }} = repeated_ids.{{ id }}
),

distinct_rows as (
    select
        rows_read.{{ id }},
        rows_read.{{ columns | join(',\n        rows_read.') }}
    from rows_read
    left join repeated_ids on rows_read.{{ id }} = repeated_ids.{{ id }}
    where repeated_ids.{{ id }} is null

    union all

    select
        {{ id }},
        {{ columns | join(',\n        ') }}
    from numbered
    where row_of_key = 1
),

days as (
    select {{ evalhouse.current_look() }} as {{ day }}

    union all

    select distinct cast({{ time }} as date) as {{ day }}
    from rows_read
    {%- if is_incremental() %}

    union all

    select {{ day }} from replaced_dates
    {%- endif %}
),

marks as (
    select distinct {{ day }} from days
)

select
    {{ id }},
    cast({{ time }} as date) as {{ day }},
    cast(null as {{ dbt.type_string() }}) as definition_hash,
    cast(null as {{ dbt.type_string() }}) as day_version,
    {{ columns | join(',\n    ') }}
from distinct_rows

union all

select
    '' as {{ id }},
    marks.{{ day }},
    '{{ definition_hash }}' as definition_hash,
    '{{ invocation_id }}' as day_version,
    no_row.{{ columns | join(',\n    no_row.') }}
from marks
left join no_row on 1 = 0
{%- endmacro %}

{#- What the kept rows of an input are made from: the columns wanted, those of them that the raw table has, and where it
    is. -#}
{% macro input_definition(input_name, columns) -%}
    {%- set settings = evalhouse.settings() -%}
    {{ return([
        columns, evalhouse.raw_columns(input_name).keys() | select('in', columns) | sort,
        input_name in settings.inputs, settings.raw_schema, settings.source_tables
    ]) }}
{%- endmacro %}

{#- Columns of the user's own come with their type, and no engine can change that of a table with rows in one step. -#}
{% macro _refuse_another_type(input_name, columns) -%}
    {%- set stored = {} -%}
    {%- for column in adapter.get_columns_in_relation(this) -%}
        {%- do stored.update({column.name | lower: column.data_type | lower}) -%}
    {%- endfor -%}
    {%- for name, column in evalhouse.raw_columns(input_name).items()
        if adapter.quote(column.name) in columns and stored.get(name, column.data_type) != column.data_type -%}
        {{ exceptions.raise_compiler_error(
            "evalhouse: column " ~ column.name ~ " of input " ~ input_name ~ " is of type " ~ column.data_type
            ~ " and was " ~ stored[name] ~ " in earlier runs; run once with --full-refresh"
        ) }}
    {%- endfor -%}
{%- endmacro %}
