{#-
    A cluster's influence on each arm's value and on their difference in the covariate: the sum of its units' deviations
    from the arm, over phases and both arms. Squares and products of these give variances (int_cluster_variances) and,
    between two metrics, covariances (int_effect_covariances).
-#}
{{ config(materialized='ephemeral') }}

with cluster_sums as (
    select * from {{ ref('evalhouse', 'int_cluster_sums') }}
),

arms as (
    select * from {{ ref('evalhouse', 'int_arm_estimates') }}
),

phase_comparisons as (
    select
        *,
        information / sum(information) over (
            partition by experiment_id, metric_name, dimension_name, dimension_value, variation_id
        ) as phase_weight
    from {{ ref('evalhouse', 'int_phase_comparisons') }}
),

influences as (
    select
        arms.experiment_id,
        arms.metric_name,
        arms.dimension_name,
        arms.dimension_value,
        arms.phase_number,
        arms.variation_id,
        cluster_sums.cluster_id,
        cluster_sums.units / arms.total_weight * arms.value_per_influence
        * (cluster_sums.mean_y - arms.influence_base * coalesce(cluster_sums.mean_d, 1)) / coalesce(arms.mean_d, 1)
            as influence,
        coalesce(
            cluster_sums.units / arms.total_weight
            * (cluster_sums.mean_x - arms.covariate_value * coalesce(cluster_sums.mean_w, 1))
            / nullif(coalesce(arms.mean_w, 1), 0),
            0
        ) as covariate_influence
    from cluster_sums
    inner join arms
        on cluster_sums.experiment_id = arms.experiment_id
        and cluster_sums.metric_name = arms.metric_name
        and cluster_sums.dimension_name = arms.dimension_name
        and cluster_sums.dimension_value = arms.dimension_value
        and cluster_sums.phase_number = arms.phase_number
        and cluster_sums.variation_id = arms.variation_id
    where coalesce(arms.mean_d, 1) <> 0
),

contributions as (
    select
        compared.experiment_id,
        compared.metric_name,
        compared.dimension_name,
        compared.dimension_value,
        compared.variation_id,
        influences.cluster_id,
        compared.phase_weight * case
            when influences.variation_id = compared.control_variation_id
                then influences.influence - compared.theta * compared.share_treatment * influences.covariate_influence
            else compared.theta * compared.share_treatment * influences.covariate_influence
        end as on_control,
        compared.phase_weight * case
            when influences.variation_id = compared.control_variation_id
                then compared.theta * compared.share_control * influences.covariate_influence
            else influences.influence - compared.theta * compared.share_control * influences.covariate_influence
        end as on_treatment,
        compared.phase_weight * influences.covariate_influence
        * case when influences.variation_id = compared.control_variation_id then -1 else 1 end as on_covariate_gap
    from phase_comparisons as compared
    inner join influences
        on compared.experiment_id = influences.experiment_id
        and compared.metric_name = influences.metric_name
        and compared.dimension_name = influences.dimension_name
        and compared.dimension_value = influences.dimension_value
        and compared.phase_number = influences.phase_number
        and influences.variation_id in (compared.control_variation_id, compared.variation_id)
)

select
    experiment_id,
    metric_name,
    dimension_name,
    dimension_value,
    variation_id,
    cluster_id,
    sum(on_control) as on_control,
    sum(on_treatment) as on_treatment,
    sum(on_covariate_gap) as on_covariate_gap
from contributions
group by experiment_id, metric_name, dimension_name, dimension_value, variation_id, cluster_id
