{#- How often each category occurs in reference and window. -#}
with drift_values as (
    select * from {{ ref('evalhouse', 'int_drift_values') }}
    where category is not null
),

features as (
    select * from {{ ref('evalhouse', 'int_drift_features') }}
    where feature_kind = 'categorical'
),

window_days as (
    select * from {{ ref('evalhouse', 'int_drift_window_days') }}
)

select
    drift_values.feature_number,
    drift_values.segment_name,
    drift_values.segment_value,
    window_days.window_start,
    drift_values.category,
    sum(case when window_days.is_reference then drift_values.row_count else 0e0 end) as reference_n,
    sum(case when window_days.is_reference then 0e0 else drift_values.row_count end) as window_n
from drift_values
inner join features on drift_values.feature_number = features.feature_number
inner join window_days
    on drift_values.monitor_name = window_days.monitor_name
    and drift_values.row_date = window_days.row_date
group by
    drift_values.feature_number,
    drift_values.segment_name,
    drift_values.segment_value,
    window_days.window_start,
    drift_values.category
