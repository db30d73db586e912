{#- Did quality change, and because other inputs came or because the same inputs get other answers? -#}
with changes as (
    select * from {{ ref('evalhouse', 'int_drift_changes') }}
)

select
    monitor_name,
    measure_name,
    window_start,
    window_end,
    segment_name,
    segment_value,
    slice,
    direction,
    reference_rows,
    window_rows,
    reference_share,
    window_share,
    reference_value,
    window_value,
    {%- for part in evalhouse.drift_parts() %}
    {{ part }},
    {{ part }}_ci_lower,
    {{ part }}_ci_upper,
    {{ part }}_p_value,
    {%- endfor %}
    margin,
    labelled_share,
    label_lag_p50_hours,
    label_lag_p90_hours,
    labels_complete_to,
    status,
    status_reason
from changes
