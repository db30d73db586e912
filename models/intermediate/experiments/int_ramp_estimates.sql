{#-
    The effect in an experiment of several phases in two ways, both without CUPED: all phases of an arm thrown together,
    as if there had been no ramp, and compared within phases. Beside them the effect of the last phase against that of
    the first. Values are pooled by units, ratios by their denominators.
-#}
{%- set key = 'experiment_id, metric_name, variation_id' -%}

with arms as (
    select * from {{ ref('evalhouse', 'int_arm_estimates') }}
    where
        look_date = {{ evalhouse.current_look() }}
        and dimension_name = 'all'
        and metric_type <> 'quantile'
        and metric_value is not null
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
    where last_phase_number > 1
),

comparisons as (
    select * from {{ ref('evalhouse', 'int_comparisons') }}
    where look_date = {{ evalhouse.current_look() }} and dimension_name = 'all'
),

pooled_arms as (
    select
        {{ evalhouse.qualified('arms', key) }},
        sum(arms.units * coalesce(arms.mean_d, 1) * arms.metric_value)
        / nullif(sum(arms.units * coalesce(arms.mean_d, 1)), 0) as metric_value
    from arms
    inner join experiments on arms.experiment_id = experiments.experiment_id
    group by {{ evalhouse.qualified('arms', key) }}
),

pooled as (
    select
        {{ evalhouse.qualified('treatment', key) }},
        treatment.metric_value - control.metric_value as pooled_effect
    from pooled_arms as treatment
    inner join experiments on treatment.experiment_id = experiments.experiment_id
    inner join pooled_arms as control
        on treatment.experiment_id = control.experiment_id
        and treatment.metric_name = control.metric_name
        and control.variation_id = experiments.control_variation_id
    where treatment.variation_id <> experiments.control_variation_id
),

within_phases as (
    select
        {{ evalhouse.qualified('treatment', key) }},
        treatment.phase_number,
        treatment.metric_value - control.metric_value as effect,
        control.variance + treatment.variance as variance,
        -- Of the variance of the variance, for Welch's degrees of freedom.
        control.variance * control.variance / nullif(control.units - 1, 0)
        + treatment.variance * treatment.variance / nullif(treatment.units - 1, 0) as variance_of_variance,
        cast(control.units as {{ evalhouse.type_double() }}) * treatment.units / (control.units + treatment.units)
            as information
    from arms as treatment
    inner join experiments on treatment.experiment_id = experiments.experiment_id
    inner join arms as control
        on treatment.experiment_id = control.experiment_id
        and treatment.metric_name = control.metric_name
        and treatment.phase_number = control.phase_number
        and control.variation_id = experiments.control_variation_id
    where treatment.variation_id <> experiments.control_variation_id
),

weighted as (
    select
        *,
        information / sum(information) over (partition by {{ key }}) as phase_weight,
        row_number() over (partition by {{ key }} order by phase_number) as from_first,
        row_number() over (partition by {{ key }} order by phase_number desc) as from_last
    from within_phases
),

stratified as (
    select
        {{ key }},
        count(*) as phases,
        sum(phase_weight * effect) as stratified_effect,
        case when count(variance) = count(*) then sum(phase_weight * phase_weight * variance) end
            as stratified_variance,
        max(case when from_first = 1 then effect end) as effect_first,
        max(case when from_last = 1 then effect end) as effect_last,
        case
            when count(*) > 1
                then max(case when from_first = 1 then variance end) + max(case when from_last = 1 then variance end)
        end as contrast_variance,
        max(case when from_first = 1 then variance_of_variance end)
        + max(case when from_last = 1 then variance_of_variance end) as contrast_variance_of_variance
    from weighted
    group by {{ key }}
)

select
    {{ evalhouse.qualified('pooled', key) }},
    experiments.is_clustered,
    coalesce(stratified.phases, 0) as phases,
    pooled.pooled_effect,
    stratified.stratified_effect,
    -- Clusters may live through several phases: their variance is that of the whole comparison.
    sqrt(case when experiments.is_clustered then comparisons.difference_variance else stratified.stratified_variance end)
        as standard_error,
    stratified.effect_first,
    stratified.effect_last,
    case
        when not experiments.is_clustered
            then (stratified.effect_last - stratified.effect_first) / nullif(sqrt(stratified.contrast_variance), 0)
    end as contrast_t,
    stratified.contrast_variance * stratified.contrast_variance
    / nullif(stratified.contrast_variance_of_variance, 0) as contrast_degrees_of_freedom
from pooled
inner join experiments on pooled.experiment_id = experiments.experiment_id
left join stratified
    on {{ evalhouse.joined('pooled', 'stratified', key) }}
left join comparisons
    on {{ evalhouse.joined('pooled', 'comparisons', key) }}
