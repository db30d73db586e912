{#-
    How many rows each source had of each day, when the day was last within reach of a run. From where the sources stood
    when they were last read a run reaches back by the lookback; rows that come for an earlier day are not in results
    by day, and input_quality counts them by holding this against what there is now.
-#}
{{ config(
    materialized='incremental',
    sql_header=evalhouse.one_writer('int_source_days'),
    **evalhouse.incremental_by(['source_name', 'activity_date'])
) }}
{%- set lookback_days = evalhouse.settings().analysis.lookback_days -%}
{%- set forever_ago = "cast('0001-01-01' as date)" %}

with watermarks as (
    select * from {{ ref('evalhouse', 'int_watermarks') }}
),

{%- if is_incremental() %}

stored as (
    select
        source_name,
        max(read_until) as read_until
    from {{ this }}
    group by source_name
),

-- As for the units' days (int_unit_days): of a source without news there is nothing to read again.
news as (
    select
        case
            when stored.read_until is null then {{ forever_ago }}
            when watermarks.newest_at > stored.read_until then cast(stored.read_until as date)
            else cast(watermarks.as_of_at as date)
        end as new_from
    from watermarks
    left join stored on watermarks.source_name = stored.source_name
    where watermarks.newest_at is not null
),

reach as (
    select
        case
            when min(new_from) = {{ forever_ago }} then {{ forever_ago }}
            else cast({{ evalhouse.time_added('day', -lookback_days, 'min(new_from)') }} as date)
        end as reaches_from
    from news
),
{%- else %}

reach as (
    select {{ forever_ago }} as reaches_from
),
{%- endif %}

source_days as (
    {{ evalhouse.source_days() | indent(4) }}
)

select
    source_days.source_name,
    source_days.activity_date,
    source_days.rows_read,
    watermarks.newest_at as read_until
from source_days
cross join reach
inner join watermarks on source_days.source_name = watermarks.source_name
where source_days.activity_date >= reach.reaches_from
