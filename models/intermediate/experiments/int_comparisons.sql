{#- Treatment against control over all phases, ready for inference: two values, their variances and covariance, and the
    degrees of freedom. Phases combine by their information; clusters replace the variances of independent units. -#}
{%- set clearly_fewer = '0.9' -%}
{%- set key = 'look_date, experiment_id, metric_name, dimension_name, dimension_value, variation_id' -%}

with phase_comparisons as (
    select
        *,
        information / sum(information) over (partition by {{ key }}) as phase_weight
    from {{ ref('evalhouse', 'int_phase_comparisons') }}
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

cluster_variances as (
    select * from {{ ref('evalhouse', 'int_cluster_variances') }}
),

combined as (
    select
        {{ key }},
        min(control_variation_id) as control_variation_id,
        count(*) as phases,
        sum(units_control) as units_control,
        sum(units_treatment) as units_treatment,
        max(abs(theta)) > 0 as is_cuped,
        min(refused_because) as refused_because,
        min(centre) as centre,
        sum(phase_weight * adjusted_value_control) as value_control,
        sum(phase_weight * adjusted_value_treatment) as value_treatment,
        sum(phase_weight * phase_weight * adjusted_variance_control) as variance_control,
        sum(phase_weight * phase_weight * adjusted_variance_treatment) as variance_treatment,
        sum(phase_weight * phase_weight * adjusted_covariance) as covariance_arms,
        sum(phase_weight * phase_weight * (own_variance_control + own_variance_treatment)) as difference_variance,
        sum(phase_weight * phase_weight * unadjusted_variance) as unadjusted_variance,
        sum(phase_weight * phase_weight * case
            when units_control < {{ clearly_fewer }} * units_treatment
                and own_variance_control * units_control < own_variance_treatment * units_treatment
                then own_variance_treatment * units_treatment / units_control - own_variance_control
            else 0
        end) as unseen_variance_control,
        sum(phase_weight * phase_weight * case
            when units_treatment < {{ clearly_fewer }} * units_control
                and own_variance_treatment * units_treatment < own_variance_control * units_control
                then own_variance_control * units_control / units_treatment - own_variance_treatment
            else 0
        end) as unseen_variance_treatment,
        -- Welch-Satterthwaite over arms and phases; an arm of one unit has no variance and no degree of freedom.
        sum(phase_weight * phase_weight * phase_weight * phase_weight * (
            own_variance_control * own_variance_control / nullif(units_control - 1, 0)
            + own_variance_treatment * own_variance_treatment / nullif(units_treatment - 1, 0)
        )) as variance_of_variance,
        sum(phase_weight * covariate_difference) as covariate_difference,
        sum(phase_weight * phase_weight * (covariate_variance_control + covariate_variance_treatment))
            as covariate_difference_variance,
        sum(phase_weight * phase_weight * phase_weight * phase_weight * (
            covariate_variance_control * covariate_variance_control / nullif(units_control - 1, 0)
            + covariate_variance_treatment * covariate_variance_treatment / nullif(units_treatment - 1, 0)
        )) as variance_of_covariate_variance,
        min(case when own_variance_control is null or own_variance_treatment is null then 0 else 1 end) as has_variances
    from phase_comparisons
    group by {{ key }}
)

select
    {{ evalhouse.qualified('combined', key) }},
    combined.control_variation_id,
    experiments.is_clustered,
    combined.is_cuped,
    combined.phases,
    combined.units_control,
    combined.units_treatment,
    coalesce(cluster_variances.clusters, combined.units_control + combined.units_treatment) as independent_units,
    combined.refused_because,
    combined.centre + combined.value_control as value_control,
    combined.centre + combined.value_treatment as value_treatment,
    -- From the values before the centre is added back: large means would take the digits of a small difference.
    combined.value_treatment - combined.value_control as effect,
    case when experiments.is_clustered then cluster_variances.variance_control else combined.variance_control end
        as variance_control,
    case when experiments.is_clustered then cluster_variances.variance_treatment else combined.variance_treatment end
        as variance_treatment,
    case when experiments.is_clustered then cluster_variances.covariance_arms else combined.covariance_arms end
        as covariance_arms,
    case
        when
            experiments.is_clustered
            and cluster_variances.variance_control + cluster_variances.variance_treatment
            - 2 * cluster_variances.covariance_arms
            <= 1e-24 * (combined.centre * combined.centre + combined.value_control * combined.value_control)
            then 0
        when experiments.is_clustered then cluster_variances.variance_control + cluster_variances.variance_treatment
            - 2 * cluster_variances.covariance_arms
        when combined.has_variances = 1 then combined.difference_variance
    end as difference_variance,
    case
        when experiments.is_clustered then cast(cluster_variances.clusters - 1 as {{ evalhouse.type_double() }})
        when combined.variance_of_variance > 0
            then combined.difference_variance * combined.difference_variance / combined.variance_of_variance
    end as degrees_of_freedom,
    -- What an arm's variance lacks against that of an arm with more units. A canary that has not met a skewed metric's
    -- tail yet has a low value and a low variance at once, and would look sure of it. Between arms of the same size,
    -- but for chance, this cancels.
    case
        when not experiments.is_clustered then combined.unseen_variance_control
        when combined.units_control < {{ clearly_fewer }} * combined.units_treatment
            and cluster_variances.variance_control * combined.units_control
            < cluster_variances.variance_treatment * combined.units_treatment
            then cluster_variances.variance_treatment * combined.units_treatment / combined.units_control
                - cluster_variances.variance_control
        else 0
    end as unseen_variance_control,
    case
        when not experiments.is_clustered then combined.unseen_variance_treatment
        when combined.units_treatment < {{ clearly_fewer }} * combined.units_control
            and cluster_variances.variance_treatment * combined.units_treatment
            < cluster_variances.variance_control * combined.units_control
            then cluster_variances.variance_control * combined.units_control / combined.units_treatment
                - cluster_variances.variance_treatment
        else 0
    end as unseen_variance_treatment,
    case
        when combined.is_cuped and combined.unadjusted_variance > 0
            then 1 - combined.difference_variance / combined.unadjusted_variance
    end as variance_reduction,
    combined.covariate_difference,
    case
        when experiments.is_clustered then cluster_variances.covariate_gap_variance
        else combined.covariate_difference_variance
    end as covariate_difference_variance,
    case
        when experiments.is_clustered then cast(cluster_variances.clusters - 1 as {{ evalhouse.type_double() }})
        when combined.variance_of_covariate_variance > 0
            then combined.covariate_difference_variance * combined.covariate_difference_variance
                / combined.variance_of_covariate_variance
    end as covariate_degrees_of_freedom
from combined
inner join experiments on combined.experiment_id = experiments.experiment_id
left join cluster_variances
    on {{ evalhouse.joined('combined', 'cluster_variances', key) }}
