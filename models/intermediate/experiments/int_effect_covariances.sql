{#-
    Covariance of the sampling errors of two metrics' effects in one experiment: the same users feed both. An effect is
    a sum of its units' residuals over n, less theta times those of the covariate, over arms and phases; the covariance
    of two such sums follows from the products of the residuals, divided as the variances are, so that a metric's
    covariance with itself is its variance. Between clusters it follows from the products of their influences.
-#}
{%- set key = 'experiment_id, variation_id' -%}

with phase_comparisons as (
    select
        *,
        information / sum(information) over (
            partition by experiment_id, metric_name, dimension_name, dimension_value, variation_id
        ) as phase_weight
    from {{ ref('evalhouse', 'int_phase_comparisons') }}
    where look_date = {{ evalhouse.current_look() }} and dimension_name = 'all'
),

products as (
    select * from {{ ref('evalhouse', 'int_influence_products') }}
),

comparisons as (
    select * from {{ ref('evalhouse', 'int_comparisons') }}
    where look_date = {{ evalhouse.current_look() }} and dimension_name = 'all' and is_clustered
),

cluster_influences as (
    select * from {{ ref('evalhouse', 'int_cluster_influences') }}
    where look_date = {{ evalhouse.current_look() }} and dimension_name = 'all'
),

metrics as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
),

-- What divides a metric's residuals in the standard error of its arm: shares of units have no n - 1.
phases as (
    select
        phase_comparisons.experiment_id,
        phase_comparisons.variation_id,
        phase_comparisons.control_variation_id,
        phase_comparisons.phase_number,
        phase_comparisons.metric_name,
        phase_comparisons.phase_weight,
        phase_comparisons.theta,
        case
            when metrics.metric_type in ('proportion', 'retention', 'funnel')
                then phase_comparisons.units_control
            else sqrt(phase_comparisons.units_control * (phase_comparisons.units_control - 1))
        end as divisor_control,
        case
            when metrics.metric_type in ('proportion', 'retention', 'funnel')
                then phase_comparisons.units_treatment
            else sqrt(phase_comparisons.units_treatment * (phase_comparisons.units_treatment - 1))
        end as divisor_treatment
    from phase_comparisons
    inner join metrics on phase_comparisons.metric_name = metrics.metric_name
),

arm_terms as (
    select
        of_goal.experiment_id,
        of_goal.variation_id,
        products.goal_metric_name,
        products.other_metric_name,
        of_goal.phase_weight * of_other.phase_weight * (
            products.product_zz
            - of_other.theta * coalesce(products.product_zc, 0)
            - of_goal.theta * coalesce(products.product_cz, 0)
            + of_goal.theta * of_other.theta * coalesce(products.product_cc, 0)
        ) / nullif(
            case
                when products.variation_id = of_goal.variation_id
                    then of_goal.divisor_treatment * of_other.divisor_treatment
                else of_goal.divisor_control * of_other.divisor_control
            end, 0
        ) as covariance
    from products
    inner join phases as of_goal
        on products.experiment_id = of_goal.experiment_id
        and products.phase_number = of_goal.phase_number
        and products.goal_metric_name = of_goal.metric_name
        and products.variation_id in (of_goal.variation_id, of_goal.control_variation_id)
    inner join phases as of_other
        on of_goal.experiment_id = of_other.experiment_id
        and of_goal.variation_id = of_other.variation_id
        and of_goal.phase_number = of_other.phase_number
        and products.other_metric_name = of_other.metric_name
),

between_units as (
    select
        {{ key }},
        goal_metric_name,
        other_metric_name,
        sum(covariance) as covariance
    from arm_terms
    group by {{ key }}, goal_metric_name, other_metric_name
),

cluster_effects as (
    select
        experiment_id,
        variation_id,
        metric_name,
        cluster_id,
        on_treatment - on_control as on_effect
    from cluster_influences
),

cluster_squares as (
    select
        {{ key }},
        metric_name,
        sum(on_effect * on_effect) as square
    from cluster_effects
    group by {{ key }}, metric_name
),

cluster_products as (
    select
        of_goal.experiment_id,
        of_goal.variation_id,
        of_goal.metric_name as goal_metric_name,
        of_other.metric_name as other_metric_name,
        sum(of_goal.on_effect * of_other.on_effect) as product
    from cluster_effects as of_goal
    inner join cluster_effects as of_other
        on {{ evalhouse.joined('of_goal', 'of_other', 'experiment_id, variation_id, cluster_id') }}
    inner join metrics on of_goal.metric_name = metrics.metric_name
    where
        metrics.metric_role = 'goal'
        and of_goal.metric_name <> of_other.metric_name
    group by of_goal.experiment_id, of_goal.variation_id, of_goal.metric_name, of_other.metric_name
),

-- The correlation of the influences times both standard errors, which have the small-sample factors.
between_clusters as (
    select
        cluster_products.experiment_id,
        cluster_products.variation_id,
        cluster_products.goal_metric_name,
        cluster_products.other_metric_name,
        coalesce(cluster_products.product / nullif(sqrt(goal_square.square) * sqrt(other_square.square), 0), 0)
        * sqrt(goal_comparison.difference_variance) * sqrt(other_comparison.difference_variance) as covariance
    from cluster_products
    inner join cluster_squares as goal_square
        on {{ evalhouse.joined('cluster_products', 'goal_square', key) }}
        and cluster_products.goal_metric_name = goal_square.metric_name
    inner join cluster_squares as other_square
        on {{ evalhouse.joined('cluster_products', 'other_square', key) }}
        and cluster_products.other_metric_name = other_square.metric_name
    inner join comparisons as goal_comparison
        on {{ evalhouse.joined('cluster_products', 'goal_comparison', key) }}
        and cluster_products.goal_metric_name = goal_comparison.metric_name
    inner join comparisons as other_comparison
        on {{ evalhouse.joined('cluster_products', 'other_comparison', key) }}
        and cluster_products.other_metric_name = other_comparison.metric_name
),

-- Two goals are one pair of products and two pairs for the reader.
goals as (
    select * from metrics
    where metric_role = 'goal'
)

select
    {{ key }},
    goal_metric_name,
    other_metric_name,
    covariance
from between_units

union all

select
    {{ evalhouse.qualified('between_units', key) }},
    between_units.other_metric_name as goal_metric_name,
    between_units.goal_metric_name as other_metric_name,
    between_units.covariance
from between_units
inner join goals on between_units.other_metric_name = goals.metric_name

union all

select
    {{ key }},
    goal_metric_name,
    other_metric_name,
    covariance
from between_clusters
