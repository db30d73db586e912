{#-
    Treatment against control within one phase. CUPED moves each arm's value to where it would be had both arms started
    from the same covariate: theta, the slope of the metric on its covariate, times the arm's distance from the common
    covariate mean. Variances and the covariance of the two moved values follow from the same linear form.
-#}
with arms as (
    select * from {{ ref('evalhouse', 'int_arm_estimates') }}
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

metrics as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
),

pairs as (
    select
        treatment.look_date,
        treatment.experiment_id,
        treatment.metric_name,
        treatment.dimension_name,
        treatment.dimension_value,
        treatment.variation_id,
        control.variation_id as control_variation_id,
        treatment.phase_number,
        metrics.is_cuped,
        metrics.metric_type,
        cast(control.units as {{ evalhouse.type_double() }}) as units_control,
        cast(treatment.units as {{ evalhouse.type_double() }}) as units_treatment,
        control.centre,
        control.metric_value as metric_value_control,
        treatment.metric_value as metric_value_treatment,
        control.variance as variance_control,
        treatment.variance as variance_treatment,
        control.covariate_value as covariate_value_control,
        treatment.covariate_value as covariate_value_treatment,
        control.covariate_variance as covariate_variance_control,
        treatment.covariate_variance as covariate_variance_treatment,
        control.covariance as covariance_control,
        treatment.covariance as covariance_treatment,
        coalesce(control.refused_because, treatment.refused_because) as refused_because
    from arms as treatment
    inner join experiments on treatment.experiment_id = experiments.experiment_id
    inner join arms as control
        on treatment.look_date = control.look_date
        and treatment.experiment_id = control.experiment_id
        and treatment.metric_name = control.metric_name
        and treatment.dimension_name = control.dimension_name
        and treatment.dimension_value = control.dimension_value
        and treatment.phase_number = control.phase_number
        and control.variation_id = experiments.control_variation_id
    inner join metrics on treatment.metric_name = metrics.metric_name
    where treatment.variation_id <> experiments.control_variation_id
),

slopes as {{ evalhouse.materialized() }} (
    select
        *,
        units_control + units_treatment as units_both,
        covariate_value_control - covariate_value_treatment as covariate_lead_of_control,
        case
            when not is_cuped then null
            -- Without spread within the arms, a slope would be made of rounding.
            when covariate_variance_control + covariate_variance_treatment <= 0 then null
            -- Means: slope over the two arms together. Ratios: slope over the arms' own deviations.
            when metric_type = 'ratio'
                then (units_control * covariance_control + units_treatment * covariance_treatment)
                    / nullif(
                        units_control * covariate_variance_control + units_treatment * covariate_variance_treatment, 0
                    )
            else (
                (units_control - 1) * units_control * covariance_control
                + (units_treatment - 1) * units_treatment * covariance_treatment
                + units_control * units_treatment / (units_control + units_treatment)
                * (covariate_value_control - covariate_value_treatment)
                * (metric_value_control - metric_value_treatment)
            ) / nullif(
                (units_control - 1) * units_control * covariate_variance_control
                + (units_treatment - 1) * units_treatment * covariate_variance_treatment
                + units_control * units_treatment / (units_control + units_treatment)
                * (covariate_value_control - covariate_value_treatment)
                * (covariate_value_control - covariate_value_treatment), 0
            )
        end as slope
    from pairs
),

adjusted as {{ evalhouse.materialized() }} (
    select
        *,
        case when abs(slope) > 1e-8 then slope else 0 end as theta,
        units_control / units_both as share_control,
        units_treatment / units_both as share_treatment,
        -- Cross terms with theta = 0 must not become null where a metric has no covariate.
        coalesce(covariate_lead_of_control, 0) as lead_of_control,
        coalesce(covariate_variance_control + covariate_variance_treatment, 0) as lead_variance,
        coalesce(covariance_control, 0) as cov_control,
        coalesce(covariance_treatment, 0) as cov_treatment,
        coalesce(covariate_variance_control, 0) as covariate_var_control,
        coalesce(covariate_variance_treatment, 0) as covariate_var_treatment
    from slopes
)

select
    look_date,
    experiment_id,
    metric_name,
    dimension_name,
    dimension_value,
    variation_id,
    control_variation_id,
    phase_number,
    units_control,
    units_treatment,
    share_control,
    share_treatment,
    theta,
    refused_because,
    centre,
    metric_value_control - theta * share_treatment * lead_of_control as adjusted_value_control,
    metric_value_treatment + theta * share_control * lead_of_control as adjusted_value_treatment,
    variance_control + theta * theta * share_treatment * share_treatment * lead_variance
    - 2 * theta * share_treatment * cov_control as adjusted_variance_control,
    variance_treatment + theta * theta * share_control * share_control * lead_variance
    - 2 * theta * share_control * cov_treatment as adjusted_variance_treatment,
    theta * (share_control * cov_control + share_treatment * cov_treatment)
    - theta * theta * share_control * share_treatment * lead_variance as adjusted_covariance,
    -- Each arm's own part of the variance of the difference, for its degrees of freedom.
    {{ evalhouse.remaining_variance('variance_control', 'theta', 'covariate_var_control', 'cov_control') }}
        as own_variance_control,
    {{ evalhouse.remaining_variance('variance_treatment', 'theta', 'covariate_var_treatment', 'cov_treatment') }}
        as own_variance_treatment,
    variance_control + variance_treatment as unadjusted_variance,
    -covariate_lead_of_control as covariate_difference,
    covariate_variance_control,
    covariate_variance_treatment,
    -- Phases differ in their split: each counts for the information that it holds about the difference.
    units_control * units_treatment / units_both as information
from adjusted
