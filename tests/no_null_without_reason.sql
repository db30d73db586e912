-- No number of a result row is null without a reason, and rows that were not computed say why.
select *
from {{ ref('evalhouse', 'experiment_results') }}
where
    status_reason is null
    and (
        status <> 'ok'
        or value_control is null or value_treatment is null or effect_absolute is null or se_absolute is null
        or ci_lower_absolute is null or ci_upper_absolute is null or effect_relative is null
        or ci_lower_relative is null or ci_upper_relative is null or p_value is null or p_value_adjusted is null
        or sequential_ci_lower_absolute is null or sequential_ci_upper_absolute is null or sequential_p_value is null
        or mde_absolute is null
    )
