{#- How many rows a feature has in reference and window, and how many of them lack it. -#}
with drift_values as (
    select * from {{ ref('evalhouse', 'int_drift_values') }}
),

window_days as (
    select * from {{ ref('evalhouse', 'int_drift_window_days') }}
),

daily as (
    select
        monitor_name,
        feature_number,
        segment_name,
        segment_value,
        row_date,
        sum(row_count) as row_count,
        sum(case when number_value is null and category is null then row_count else 0e0 end) as rows_missing
    from drift_values
    group by monitor_name, feature_number, segment_name, segment_value, row_date
)

select
    daily.feature_number,
    daily.segment_name,
    daily.segment_value,
    window_days.window_start,
    sum(case when window_days.is_reference then daily.row_count else 0e0 end) as reference_rows,
    sum(case when window_days.is_reference then 0e0 else daily.row_count end) as window_rows,
    sum(case when window_days.is_reference then daily.rows_missing else 0e0 end) as reference_missing,
    sum(case when window_days.is_reference then 0e0 else daily.rows_missing end) as window_missing
from daily
inner join window_days
    on daily.monitor_name = window_days.monitor_name
    and daily.row_date = window_days.row_date
group by daily.feature_number, daily.segment_name, daily.segment_value, window_days.window_start
