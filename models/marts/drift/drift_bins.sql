{#- What drift_summary compares, bin by bin. -#}
with bins as (
    select * from {{ ref('evalhouse', 'int_drift_bins') }}
),

features as (
    select * from {{ ref('evalhouse', 'int_drift_features') }}
),

windows as (
    select * from {{ ref('evalhouse', 'int_drift_windows') }}
)

select
    features.monitor_name,
    features.feature_name,
    features.feature_kind,
    bins.window_start,
    windows.window_end,
    bins.segment_name,
    bins.segment_value,
    cast(bins.bin_number as {{ dbt.type_bigint() }}) as bin_number,
    bins.lower_bound,
    bins.upper_bound,
    bins.category,
    cast(bins.reference_n as {{ dbt.type_bigint() }}) as reference_n,
    cast(bins.window_n as {{ dbt.type_bigint() }}) as window_n,
    bins.reference_share,
    bins.window_share,
    bins.psi_part,
    case when bins.category is not null then bins.reference_n = 0 end as is_new,
    case when bins.category is not null then bins.window_n = 0 and bins.window_total > 0 end as is_lost
from bins
inner join features on bins.feature_number = features.feature_number
inner join windows
    on features.monitor_name = windows.monitor_name
    and bins.window_start = windows.window_start
