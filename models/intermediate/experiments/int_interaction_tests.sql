{#-
    Does the effect differ over the values of a dimension? Effects of slices that share no unit are compared with their
    precision-weighted mean: Q, chi-square with one degree of freedom less than slices. Variances are estimated, which
    matters in small slices; James (1951) enlarges the critical value of a chi-square x to
    x (1 + (3 x + S + 1) / (2 (S^2 - 1)) sum (1 - weight)^2 / degrees of freedom), solved here for x.
    Where the slice has an exact test its variance is the one with an event and a non-event added to each arm: without,
    no event would mean no variance.
-#}
{%- set key = 'experiment_id, metric_name, variation_id, dimension_name' -%}
{%- set slice = key ~ ', dimension_value' -%}

with comparisons as (
    select * from {{ ref('evalhouse', 'int_comparisons') }}
    where look_date = {{ evalhouse.current_look() }} and dimension_name <> 'all'
),

inference as (
    select * from {{ ref('evalhouse', 'int_inference') }}
    where look_date = {{ evalhouse.current_look() }} and dimension_name <> 'all' and not_computed_because is null
),

exact_tests as (
    select * from {{ ref('evalhouse', 'int_exact_tests') }}
    where look_date = {{ evalhouse.current_look() }}
),

cluster_sums as (
    select * from {{ ref('evalhouse', 'int_cluster_sums') }}
    where look_date = {{ evalhouse.current_look() }} and dimension_name <> 'all'
),

spread_clusters as (
    select
        experiment_id,
        metric_name,
        dimension_name,
        cluster_id
    from cluster_sums
    group by experiment_id, metric_name, dimension_name, cluster_id
    having min(dimension_value) <> max(dimension_value)
),

dependent_slices as (
    select
        experiment_id,
        metric_name,
        dimension_name,
        count(*) as clusters
    from spread_clusters
    group by experiment_id, metric_name, dimension_name
),

all_slices as (
    select
        {{ evalhouse.qualified('comparisons', slice) }},
        inference.effect,
        coalesce(exact_tests.planning_variance, inference.standard_error * inference.standard_error) as variance,
        case
            when exact_tests.planning_variance is not null
                then comparisons.units_control + comparisons.units_treatment - 2
            else comparisons.degrees_of_freedom
        end as degrees_of_freedom
    from comparisons
    left join inference
        on {{ evalhouse.joined('comparisons', 'inference', slice) }}
    left join exact_tests
        on {{ evalhouse.joined('comparisons', 'exact_tests', slice) }}
),

weighted as (
    select
        *,
        case when effect is not null and degrees_of_freedom > 0 then 1 / nullif(variance, 0) end as precision_of_slice
    from all_slices
),

averaged as (
    select
        *,
        precision_of_slice / sum(precision_of_slice) over (partition by {{ key }}) as weight,
        sum(precision_of_slice * effect) over (partition by {{ key }})
        / sum(precision_of_slice) over (partition by {{ key }}) as average_effect
    from weighted
),

sums as (
    select
        {{ key }},
        cast(count(weight) as {{ evalhouse.type_double() }}) as slices,
        count(*) - count(weight) as slices_left_out,
        min(average_effect) as average_effect,
        sum(precision_of_slice * (effect - average_effect) * (effect - average_effect)) as q_statistic,
        sum((1 - weight) * (1 - weight) / degrees_of_freedom) as inverse_degrees,
        -- The moment estimate of how much true effects vary over slices.
        sum(precision_of_slice) - sum(precision_of_slice * weight) as precision_beyond_one
    from averaged
    group by {{ key }}
),

scaled as (
    select
        sums.*,
        sums.slices - 1 as degrees_of_freedom,
        inverse_degrees / nullif(2 * (slices * slices - 1), 0) as correction,
        case
            when sums.q_statistic > sums.slices - 1
                then (sums.q_statistic - (sums.slices - 1)) / nullif(sums.precision_beyond_one, 0)
            else 0
        end as variance_of_effects,
        case
            when dependent_slices.clusters is not null then 'slices_share_clusters'
            when sums.slices < 2 then 'fewer_than_two_slices'
        end as reason
    from sums
    left join dependent_slices
        on {{ evalhouse.joined('sums', 'dependent_slices', 'experiment_id, metric_name, dimension_name') }}
),

-- The positive root of 3 c x^2 + (1 + c (S + 1)) x = Q, written without cancellation for small c.
shrunk as {{ evalhouse.materialized() }} (
    select
        *,
        2 * q_statistic / (
            1 + correction * (slices + 1) + sqrt(
                (1 + correction * (slices + 1)) * (1 + correction * (slices + 1)) + 12 * correction * q_statistic
            )
        ) as chi_square
    from scaled
)

select
    {{ key }},
    cast(slices as {{ dbt.type_bigint() }}) as slices,
    slices_left_out,
    case when reason is null then average_effect end as average_effect,
    case when reason is null then variance_of_effects end as variance_of_effects,
    case when reason is null then q_statistic end as q_statistic,
    case when reason is null then degrees_of_freedom end as degrees_of_freedom,
    case when reason is null then {{ evalhouse.chi_square_sf('chi_square', 'degrees_of_freedom') }} end as p_value,
    reason
from shrunk
