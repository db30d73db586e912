{#-
    A cluster's influence on each arm's value and on their difference in the covariate: the sum of its units' deviations
    from the arm, over phases and both arms. Squares and products of these give variances (int_cluster_variances) and,
    between two metrics, covariances (int_effect_covariances).
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
)

select
    {{ key }},
    cluster_id,
    sum(on_control) as on_control,
    sum(on_treatment) as on_treatment,
    sum(on_covariate_gap) as on_covariate_gap
from contributions
group by {{ key }}, cluster_id
