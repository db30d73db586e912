{#- The counts of int_drift_value_counts with the names of monitor and segment: a view, since writing these out costs
    more than all else. -#}
with value_counts as (
    select * from {{ ref('evalhouse', 'int_drift_value_counts') }}
),

features as (
    select * from {{ ref('evalhouse', 'int_drift_features') }}
)

select
    features.monitor_name,
    value_counts.row_date,
    coalesce(value_counts.segment_name, 'all') as segment_name,
    coalesce(value_counts.segment_value, 'all') as segment_value,
    value_counts.feature_number,
    value_counts.number_value,
    value_counts.category,
    value_counts.row_count
from value_counts
left join features on value_counts.feature_number = features.feature_number
