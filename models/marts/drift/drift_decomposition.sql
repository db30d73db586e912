{#- Did quality change, and because other inputs came or because the same inputs get other answers? -#}
with changes as (
    select * from {{ ref('evalhouse', 'int_drift_changes') }}
),

verdicts as (
    select * from {{ ref('evalhouse', 'int_drift_verdicts') }}
),

verdicts_of_all as (
    select
        *,
        'all' as slice
    from verdicts
)

select
    changes.monitor_name,
    changes.measure_name,
    changes.window_start,
    changes.window_end,
    changes.segment_name,
    changes.segment_value,
    changes.slice,
    changes.direction,
    changes.reference_rows,
    changes.window_rows,
    changes.reference_share,
    changes.window_share,
    changes.reference_value,
    changes.window_value,
    {%- for part in evalhouse.drift_parts() %}
    changes.{{ part }},
    changes.{{ part }}_ci_lower,
    changes.{{ part }}_ci_upper,
    changes.{{ part }}_p_value,
    {%- endfor %}
    changes.margin,
    changes.labelled_share,
    changes.label_lag_p50_hours,
    changes.label_lag_p90_hours,
    changes.labels_complete_to,
    changes.status,
    changes.status_reason,
    verdicts.change_p_value_adjusted,
    verdicts.within_slices_p_value_adjusted,
    case
        when changes.slice <> 'all' then null
        when verdicts.is_worse then 'worse'
        when verdicts.is_better then 'better'
        when changes.status = 'ok' then 'unchanged'
        else 'not_computed'
    end as verdict,
    case
        when changes.slice <> 'all' or verdicts.level is null or verdicts.level = 0 then null
        when verdicts.is_raised_within then 'within_slices'
        else 'mix_of_slices'
    end as cause
from changes
left join verdicts_of_all as verdicts
    on changes.slice = verdicts.slice
    and changes.monitor_name = verdicts.monitor_name
    and changes.measure_name = verdicts.item_name
    and changes.segment_name = verdicts.segment_name
    and changes.segment_value = verdicts.segment_value
    and changes.window_start = verdicts.window_start
