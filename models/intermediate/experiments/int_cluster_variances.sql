{#-
    Sandwich variance where units come in clusters. A cluster's influence on each arm's value is the sum of its units'
    deviations from the arm, over phases and both arms; squares and products of these sums, with the usual small-sample
    factor, give the variances and the covariance of the two arms' values. Clusters may hold both arms.
-#}
{%- set key = 'look_date, experiment_id, metric_name, dimension_name, dimension_value, variation_id' -%}

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
            partition by {{ key }}
        ) as phase_weight
    from {{ ref('evalhouse', 'int_phase_comparisons') }}
),

influences as (
    select
        arms.look_date,
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
        on cluster_sums.look_date = arms.look_date
        and cluster_sums.experiment_id = arms.experiment_id
        and cluster_sums.metric_name = arms.metric_name
        and cluster_sums.dimension_name = arms.dimension_name
        and cluster_sums.dimension_value = arms.dimension_value
        and cluster_sums.phase_number = arms.phase_number
        and cluster_sums.variation_id = arms.variation_id
    where coalesce(arms.mean_d, 1) <> 0
),

contributions as (
    select
        compared.look_date,
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
        on compared.look_date = influences.look_date
        and compared.experiment_id = influences.experiment_id
        and compared.metric_name = influences.metric_name
        and compared.dimension_name = influences.dimension_name
        and compared.dimension_value = influences.dimension_value
        and compared.phase_number = influences.phase_number
        and influences.variation_id in (compared.control_variation_id, compared.variation_id)
),

by_cluster as (
    select
        {{ key }},
        cluster_id,
        sum(on_control) as on_control,
        sum(on_treatment) as on_treatment,
        sum(on_covariate_gap) as on_covariate_gap
    from contributions
    group by {{ key }}, cluster_id
),

sums as (
    select
        {{ key }},
        count(*) as clusters,
        sum(on_control * on_control) as square_control,
        sum(on_treatment * on_treatment) as square_treatment,
        sum(on_control * on_treatment) as product,
        sum(on_covariate_gap * on_covariate_gap) as square_covariate_gap
    from by_cluster
    group by {{ key }}
),

units as (
    select
        {{ key }},
        sum(units_control + units_treatment) as units_both
    from phase_comparisons
    group by {{ key }}
),

corrected as (
    select
        sums.*,
        case
            when sums.clusters > 1 and units.units_both > 2
                then cast(sums.clusters as {{ evalhouse.type_double() }}) / (sums.clusters - 1)
                    * (units.units_both - 1) / (units.units_both - 2)
        end as small_sample_factor
    from sums
    inner join units
        on {{ evalhouse.joined('sums', 'units', key) }}
)

select
    {{ key }},
    clusters,
    small_sample_factor * square_control as variance_control,
    small_sample_factor * square_treatment as variance_treatment,
    small_sample_factor * product as covariance_arms,
    small_sample_factor * square_covariate_gap as covariate_gap_variance
from corrected
