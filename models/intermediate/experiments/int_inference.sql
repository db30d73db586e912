{#-
    Test and intervals of every comparison: Welch's or the cluster-robust t test, Fieller's (or the delta) interval of
    the relative effect, the anytime-valid counterparts, and the exact test in their place where counts are small.
    Whatever has values, variances and degrees of freedom of this form can be put through the same steps.
-#}
{%- set settings = evalhouse.settings() -%}
{%- set key = 'look_date, experiment_id, metric_name, dimension_name, dimension_value, variation_id' -%}

with comparisons as (
    select * from {{ ref('evalhouse', 'int_comparisons') }}
),

exact_tests as (
    select * from {{ ref('evalhouse', 'int_exact_tests') }}
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

classified as {{ evalhouse.materialized() }} (
    select
        comparisons.*,
        experiments.alpha,
        experiments.alpha / 2 as tail,
        sqrt(comparisons.difference_variance) as standard_error,
        -- Looks begin when the smaller arm is small: see int_comparisons.
        sqrt(
            comparisons.difference_variance
            + comparisons.unseen_variance_control + comparisons.unseen_variance_treatment
        ) as sequential_error,
        exact_tests.p_value is not null as is_exact,
        exact_tests.p_value as exact_p_value,
        exact_tests.sequential_p_value as exact_sequential_p_value,
        exact_tests.ci_lower_absolute as exact_ci_lower_absolute,
        exact_tests.ci_upper_absolute as exact_ci_upper_absolute,
        exact_tests.ci_lower_relative as exact_ci_lower_relative,
        exact_tests.ci_upper_relative as exact_ci_upper_relative,
        exact_tests.planning_variance as exact_planning_variance,
        case
            when comparisons.refused_because is not null then comparisons.refused_because
            when exact_tests.p_value is not null then null
            when comparisons.value_control is null or comparisons.value_treatment is null then 'denominator_is_zero'
            when comparisons.units_control < 2 or comparisons.units_treatment < 2 then 'fewer_than_two_units'
            when comparisons.is_clustered and comparisons.independent_units < 2 then 'fewer_than_two_clusters'
            when comparisons.difference_variance > 0 and comparisons.degrees_of_freedom > 0 then null
            else 'zero_variance'
        end as not_computed_because
    from comparisons
    inner join experiments on comparisons.experiment_id = experiments.experiment_id
    left join exact_tests
        on {{ evalhouse.joined('comparisons', 'exact_tests', key) }}
),

tested as {{ evalhouse.materialized() }} (
    select
        *,
        case when not_computed_because is null then effect / nullif(standard_error, 0) end as t_statistic,
        case when not_computed_because is null then effect / nullif(sequential_error, 0) end as sequential_t
    from classified
),

{{ evalhouse.critical_value_steps('tested') }},

-- The pieces of Fieller's interval, written for the effect over the control value so that nothing cancels when the two
-- are close: roots of (difference - r * control)^2 = t^2 * variance of that.
relative_pieces as {{ evalhouse.materialized() }} (
    select
        *,
        covariance_arms - variance_control as covariance_difference_control,
        critical_value * critical_value as squared_critical,
        value_control * value_control - critical_value * critical_value * variance_control as curvature
    from refined_twice
),

-- What lies under the root, and the size of its terms: what rounding leaves of no width (nobody in treatment has
-- anything, say) is none.
relative_spreads as {{ evalhouse.materialized() }} (
    select
        *,
        squared_critical * (
            variance_control * effect * effect + difference_variance * value_control * value_control
            - 2 * value_control * effect * covariance_difference_control
        )
        - squared_critical * squared_critical * (
            variance_control * difference_variance - covariance_difference_control * covariance_difference_control
        ) as relative_spread,
        squared_critical * (
            variance_control * effect * effect + difference_variance * value_control * value_control
            + 2 * abs(value_control * effect * covariance_difference_control)
        )
        + squared_critical * squared_critical * (
            variance_control * difference_variance + covariance_difference_control * covariance_difference_control
        ) as relative_terms
    from relative_pieces
),

intervals as {{ evalhouse.materialized() }} (
    select
        *,
        effect - critical_value * standard_error as t_ci_lower,
        effect + critical_value * standard_error as t_ci_upper,
        {% if settings.analysis.relative_method == 'fieller' -%}
        curvature > 0 as has_relative,
        (value_control * effect - squared_critical * covariance_difference_control) / nullif(curvature, 0)
            as relative_centre,
        case
            when relative_spread > 1e-13 * relative_terms then sqrt(relative_spread)
            when relative_spread is not null then 0
        end / nullif(curvature, 0) as relative_half_width
        {%- else -%}
        value_control * value_control > 1e-20 * variance_control as has_relative,
        effect / nullif(value_control, 0) as relative_centre,
        critical_value * sqrt(greatest(
            difference_variance + variance_control * effect * effect / nullif(value_control * value_control, 0)
            - 2 * covariance_difference_control * effect / nullif(value_control, 0), 0
        )) / nullif(abs(value_control), 0) as relative_half_width
        {%- endif %},
        case when value_control < 0 then -1 else 1 end as control_sign,
        {{ evalhouse.student_t_two_sided_p('t_statistic', 'degrees_of_freedom') }} as t_p_value,
        -- Asymptotic confidence sequence of Waudby-Smith et al.: valid at every look, tightest near the tuning size.
        (-2 * ln(alpha) + ln(1 - 2 * ln(alpha))) / {{ settings.analysis.sequential_tuning }}
        * (units_control + units_treatment) as sequential_scale,
        {{ evalhouse.normal_quantile('(1 - alpha / 2)') }} + {{ evalhouse.normal_quantile('0.8') }} as detectable_errors
    from relative_spreads
),

sequenced as {{ evalhouse.materialized() }} (
    select
        *,
        sequential_error * sqrt(2 * (sequential_scale + 1) * ln(sqrt(sequential_scale + 1) / alpha) / sequential_scale)
            as sequential_half_width,
        0.5 * ln(sequential_scale + 1)
        - sequential_scale * sequential_t * sequential_t / (2 * (sequential_scale + 1)) as ln_sequential_p,
        not_computed_because is null and not is_exact
        and independent_units >= 200 and units_control >= 100 and units_treatment >= 100 as has_sequential_interval
    from intervals
),

computed as {{ evalhouse.materialized() }} (
    select
        *,
        case when is_exact then exact_p_value else t_p_value end as p_value,
        case when is_exact then exact_ci_lower_absolute when not_computed_because is null then t_ci_lower end
            as ci_lower_absolute,
        case when is_exact then exact_ci_upper_absolute when not_computed_because is null then t_ci_upper end
            as ci_upper_absolute,
        not_computed_because is null and case when is_exact then value_control > 0 else has_relative end as is_relative,
        case when is_exact then exact_ci_lower_relative else control_sign * relative_centre - relative_half_width end
            as ci_lower_relative,
        case when is_exact then exact_ci_upper_relative else control_sign * relative_centre + relative_half_width end
            as ci_upper_relative,
        case
            when is_exact then exact_sequential_p_value
            when has_sequential_interval and ln_sequential_p >= 0 then 1
            when has_sequential_interval then {{ evalhouse.exp_safe('ln_sequential_p') }}
        end as sequential_p_value,
        detectable_errors * case
            when is_exact then sqrt(exact_planning_variance)
            when not_computed_because is null then standard_error
        end as mde_absolute,
        case
            when is_exact then 'exact'
            when is_clustered then 'clustered'
            when is_cuped and phases > 1 then 'cuped_stratified'
            when is_cuped then 'cuped'
            when phases > 1 then 'stratified'
            else 'none'
        end as adjustment
    from sequenced
)

select
    {{ key }},
    control_variation_id,
    units_control,
    units_treatment,
    value_control,
    value_treatment,
    effect,
    standard_error,
    t_statistic,
    is_relative,
    has_sequential_interval,
    adjustment,
    case when adjustment <> 'clustered' then variance_reduction end as variance_reduction,
    p_value,
    ci_lower_absolute,
    ci_upper_absolute,
    case when is_relative then effect / abs(value_control) end as effect_relative,
    case when is_relative then ci_lower_relative end as ci_lower_relative,
    case when is_relative then ci_upper_relative end as ci_upper_relative,
    sequential_p_value,
    case when has_sequential_interval then effect - sequential_half_width end as sequential_ci_lower_absolute,
    case when has_sequential_interval then effect + sequential_half_width end as sequential_ci_upper_absolute,
    mde_absolute,
    not_computed_because,
    case
        when not_computed_because is not null then not_computed_because
        when not is_relative then 'control_not_separated_from_zero'
        when is_exact then 'no_sequential_interval_for_exact_test'
        when not has_sequential_interval and is_clustered and independent_units < 200
            then 'fewer_than_200_clusters_for_sequential'
        when not has_sequential_interval then 'fewer_than_100_units_for_sequential'
    end as reason
from computed
