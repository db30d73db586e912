{#-
    Sandwich variance where units come in clusters: squares and products of the clusters' influences, with the usual
    small-sample factor, give the variances and the covariance of the two arms' values. Clusters may hold both arms.
-#}
{%- set key = 'look_date, experiment_id, metric_name, dimension_name, dimension_value, variation_id' -%}

with by_cluster as (
    select * from {{ ref('evalhouse', 'int_cluster_influences') }}
),

phase_comparisons as (
    select * from {{ ref('evalhouse', 'int_phase_comparisons') }}
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
