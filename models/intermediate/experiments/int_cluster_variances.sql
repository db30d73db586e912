{#-
    Sandwich variance where units come in clusters. A cluster's influence on each arm's value is the sum of its units'
    deviations from the arm, over phases and both arms; squares and products of these sums, with the usual small-sample
    factor, give the variances and the covariance of the two arms' values. Clusters may hold both arms.
-#}
{%- set key = 'look_date, experiment_id, metric_name, dimension_name, dimension_value, variation_id' -%}

{#- Joins are on one text: of an equality of seven columns, an engine without statistics expects one row and loops. -#}
{%- set slice = ['look_date', 'experiment_id', 'metric_name', 'dimension_name', 'dimension_value', 'phase_number'] -%}

with cluster_sums as (
    select
        *,
        {{ evalhouse.text_key(slice + ['variation_id']) }} as arm_key
    from {{ ref('evalhouse', 'int_cluster_sums') }}
),

arms as (
    select
        *,
        {{ evalhouse.text_key(slice) }} as slice_key,
        {{ evalhouse.text_key(slice + ['variation_id']) }} as arm_key
    from {{ ref('evalhouse', 'int_arm_estimates') }}
),

phase_comparisons as (
    select
        *,
        {{ evalhouse.text_key(slice) }} as slice_key,
        information / sum(information) over (partition by {{ key }}) as phase_weight
    from {{ ref('evalhouse', 'int_phase_comparisons') }}
),

influences as {{ evalhouse.materialized() }} (
    select
        arms.slice_key,
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
    inner join arms on cluster_sums.arm_key = arms.arm_key
    where coalesce(arms.mean_d, 1) <> 0
),

contributions as (
    select
        {{ evalhouse.qualified('compared', key) }},
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
        on compared.slice_key = influences.slice_key
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
