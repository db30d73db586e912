{#-
    What each source had of each day, when the day was last within reach of a run: how many rows, and what they said.
    From where a source stood when it was last read a run reaches back by the lookback. Models that keep days
    replace those of which they have read something else; rows that come for an earlier day are not in results, and
    input_quality counts them by holding this against what there is now.
-#}
{{ config(
    materialized='incremental',
    on_schema_change='sync_all_columns',
    sql_header=evalhouse.one_writer('int_source_days'),
    **evalhouse.incremental_by(['source_name', 'activity_date'])
) }}
{%- set lookback_days = evalhouse.settings().analysis.lookback_days -%}
{%- set forever_ago = "cast('0001-01-01' as date)" -%}
{%- set windows = [0] -%}
{%- for metric in evalhouse.metric_plan().metrics -%}
    {%- do windows.append(metric.start_seconds + (metric.span_seconds or 0)) -%}
{%- endfor %}

with watermarks as (
    select * from {{ ref('evalhouse', 'int_watermarks') }}
),

exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
),

{%- for fact, measures in evalhouse.measures_by_fact().items() %}

{{ fact }}_measures as (
    {{ evalhouse.fact_measures(fact, measures) | indent(4) }}
),
{%- endfor %}

source_days as (
    {{ evalhouse.source_days() | indent(4) }}
),

-- Counted at any age: a unit that leaves on an old day takes back what its later days have added.
second_variations as (
    select
        '(second variations)' as source_name,
        cast(second_variation_at as date) as activity_date,
        count(*) as rows_read
    from exposed_units
    where second_variation_at is not null
    group by cast(second_variation_at as date)
),

{%- if is_incremental() %}

stored_days as (
    select * from {{ this }}
),

read_before as (
    select
        source_name,
        read_until
    from stored_days
    where activity_date = {{ evalhouse.current_look() }}
),

outcomes_before as (
    select max(read_until) as read_until
    from read_before
    where source_name = 'outcomes'
),

-- Each source by itself: one that stands still keeps its days within reach, and what it brings when it comes back. What
-- is said of turns comes from outcomes, too, and a late trace may change it for the turns before it.
source_reach as (
    select
        watermarks.source_name,
        case
            when read_before.read_until is null then {{ forever_ago }}
            {%- if evalhouse.has_input('outcomes') %}
            when watermarks.source_name in ('turns', 'sessions') and outcomes_before.read_until is null
                then {{ forever_ago }}
            {%- endif %}
            when watermarks.source_name in ('turns', 'sessions') then cast({{ evalhouse.time_added(
                'day', -(lookback_days + evalhouse.watched_days()),
                'cast(least(read_before.read_until, watermarks.as_of_at'
                ~ (', outcomes_before.read_until' if evalhouse.has_input('outcomes') else '') ~ ') as date)'
            ) }} as date)
            else cast({{ evalhouse.time_added(
                'day', -lookback_days,
                'cast(least(read_before.read_until, watermarks.as_of_at) as date)'
            ) }} as date)
        end as reaches_from
    from watermarks
    left join read_before on watermarks.source_name = read_before.source_name
    cross join outcomes_before
),

counted_units as (
    select
        source_name,
        activity_date,
        sum(rows_now) as rows_now,
        sum(rows_stored) as rows_stored
    from (
        select
            source_name,
            activity_date,
            rows_read as rows_now,
            0 as rows_stored
        from source_days
        where source_name = 'exposures'

        union all

        select
            source_name,
            activity_date,
            rows_read as rows_now,
            0 as rows_stored
        from second_variations

        union all

        select
            source_name,
            activity_date,
            0 as rows_now,
            rows_read as rows_stored
        from stored_days
        where source_name in ('exposures', '(second variations)')
    ) as counted
    group by source_name, activity_date
),

changed_days as (
    select counted_units.*
    from counted_units
    inner join source_reach
        on source_reach.source_name = 'exposures'
        and counted_units.activity_date < source_reach.reaches_from
    where counted_units.rows_stored <> counted_units.rows_now
),

-- Units that were exposed on a day, however old, and no longer are would count there and, if they moved, elsewhere.
taken_back as (
    select min(activity_date) as taken_from
    from changed_days
    where
        source_name = '(second variations)'
        or (select max(rows_stored - rows_now) from changed_days where source_name = 'exposures') > 0
),

checked as (
    select
        source_reach.source_name,
        case
            when source_reach.source_name = 'exposures' and taken_back.taken_from is not null
                then cast(taken_back.taken_from as {{ dbt.type_timestamp() }})
            else cast(source_reach.reaches_from as {{ dbt.type_timestamp() }})
        end as reaches_from
    from source_reach
    cross join taken_back
),
{%- else %}

-- Nobody will look at what earlier rows said.
checked as (
    select
        source_name,
        case
            when source_name in ('turns', 'sessions') then {{ evalhouse.time_added(
                'day', -(lookback_days + evalhouse.watched_days()),
                'cast(cast(newest_at as date) as ' ~ dbt.type_timestamp() ~ ')'
            ) }}
            else {{ evalhouse.time_added(
                'day', -lookback_days, 'cast(cast(newest_at as date) as ' ~ dbt.type_timestamp() ~ ')'
            ) }}
        end as reaches_from
    from watermarks
),
{%- endif %}

contents as (
    {{ evalhouse.source_contents() | indent(4) }}
),

days as (
    select
        source_name,
        activity_date,
        rows_read,
        cast(null as {{ dbt.type_string() }}) as content
    from source_days

    union all

    select
        source_name,
        activity_date,
        rows_read,
        content
    from contents

    union all

    select
        source_name,
        activity_date,
        rows_read,
        cast(null as {{ dbt.type_string() }}) as content
    from second_variations

    union all

    -- How far the source has been read stands on a date of its own.
    select
        source_name,
        {{ evalhouse.current_look() }} as activity_date,
        0 as rows_read,
        cast(null as {{ dbt.type_string() }}) as content
    from watermarks
    {%- if windows | max > 0 %}

    union all

    -- Windows end as time goes on, whether or not there are new rows.
    select
        '(as of)' as source_name,
        cast(max(as_of_at) as date) as activity_date,
        1 as rows_read,
        cast(max(as_of_at) as {{ dbt.type_string() }}) as content
    from watermarks
    where as_of_at is not null
    {%- endif %}
    {%- if is_incremental() %}

    union all

    -- A day may have lost all of its rows.
    select
        source_name,
        activity_date,
        0 as rows_read,
        cast(null as {{ dbt.type_string() }}) as content
    from stored_days
    {%- endif %}
)

select
    days.source_name,
    days.activity_date,
    max(watermarks.newest_at) as read_until,
    cast(max(days.rows_read) as {{ dbt.type_bigint() }}) as rows_read,
    max(days.content) as content
from days
left join watermarks on days.source_name = watermarks.source_name
{%- if is_incremental() %}
left join checked on days.source_name = checked.source_name
where checked.reaches_from is null or days.activity_date >= cast(checked.reaches_from as date)
{%- endif %}
group by days.source_name, days.activity_date
