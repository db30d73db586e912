{%- set settings = evalhouse.settings() -%}
{%- set key = 'experiment_id, metric_name, dimension_name, dimension_value, variation_id' -%}
{%- set protected_names = settings.protected_dimensions -%}

with experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

variations as (
    select * from {{ ref('evalhouse', 'int_experiment_variations') }}
),

metrics as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
),

slices as (
    select
        experiment_id,
        'all' as dimension_name,
        'all' as dimension_value
    from {{ ref('evalhouse', 'int_experiments') }}
    union
    select
        experiment_id,
        dimension_name,
        dimension_value
    from {{ ref('evalhouse', 'int_arm_moments_wide') }}
),

watermarks as (
    select * from {{ ref('evalhouse', 'int_watermarks') }}
),

arms as (
    select
        {{ key }},
        sum(units) as units
    from {{ ref('evalhouse', 'int_arm_estimates') }}
    group by {{ key }}
),

comparisons as (
    select * from {{ ref('evalhouse', 'int_comparisons') }}
),

exact_tests as (
    select * from {{ ref('evalhouse', 'int_exact_tests') }}
),

-- Every row that somebody may look for, whether or not there is anything to compare.
wanted as (
    select
        experiments.experiment_id,
        metrics.metric_name,
        metrics.metric_role,
        metrics.metric_type,
        metrics.direction,
        variations.variation_id,
        experiments.control_variation_id,
        slices.dimension_name,
        slices.dimension_value,
        experiments.alpha,
        experiments.is_clustered,
        experiments.as_of_at,
        watermarks.newest_at as fact_newest_at
    from experiments
    inner join variations
        on experiments.experiment_id = variations.experiment_id
        and not variations.is_control
    inner join slices on experiments.experiment_id = slices.experiment_id
    cross join metrics
    left join watermarks on metrics.fact_name = watermarks.source_name
),

compared as {{ evalhouse.materialized() }} (
    select
        wanted.*,
        coalesce(control.units, 0) as units_control,
        coalesce(treatment.units, 0) as units_treatment,
        comparisons.phases,
        comparisons.is_cuped,
        comparisons.independent_units,
        comparisons.value_control,
        comparisons.value_treatment,
        comparisons.variance_control,
        comparisons.variance_treatment,
        comparisons.covariance_arms,
        comparisons.difference_variance,
        comparisons.degrees_of_freedom,
        comparisons.variance_reduction,
        comparisons.units_control as pooled_units_control,
        comparisons.units_treatment as pooled_units_treatment,
        comparisons.effect,
        sqrt(comparisons.difference_variance) as standard_error,
        exact_tests.p_value as exact_p_value,
        exact_tests.sequential_p_value as exact_sequential_p_value,
        exact_tests.ci_lower_absolute as exact_ci_lower_absolute,
        exact_tests.ci_upper_absolute as exact_ci_upper_absolute,
        exact_tests.ci_lower_relative as exact_ci_lower_relative,
        exact_tests.ci_upper_relative as exact_ci_upper_relative,
        exact_tests.planning_variance as exact_planning_variance,
        case
            when wanted.fact_newest_at is null then 'source_has_no_rows'
            when coalesce(control.units, 0) = 0 and coalesce(treatment.units, 0) = 0 then 'no_units_in_either_arm'
            when coalesce(control.units, 0) = 0 then 'no_units_in_control'
            when coalesce(treatment.units, 0) = 0 then 'no_units_in_treatment'
            when comparisons.phases is null then 'no_phase_with_both_arms'
            when comparisons.refused_because is not null then comparisons.refused_because
            when exact_tests.p_value is not null then null
            when comparisons.value_control is null or comparisons.value_treatment is null then 'denominator_is_zero'
            when control.units < 2 or treatment.units < 2 then 'fewer_than_two_units'
            when wanted.is_clustered and comparisons.independent_units < 2 then 'fewer_than_two_clusters'
            when comparisons.difference_variance > 0 and comparisons.degrees_of_freedom > 0 then null
            else 'zero_variance'
        end as not_computed_because
    from wanted
    left join arms as control
        on wanted.experiment_id = control.experiment_id
        and wanted.metric_name = control.metric_name
        and wanted.dimension_name = control.dimension_name
        and wanted.dimension_value = control.dimension_value
        and wanted.control_variation_id = control.variation_id
    left join arms as treatment
        on {{ evalhouse.joined('wanted', 'treatment', key) }}
    left join comparisons
        on {{ evalhouse.joined('wanted', 'comparisons', key) }}
    left join exact_tests
        on {{ evalhouse.joined('wanted', 'exact_tests', key) }}
),

classified as {{ evalhouse.materialized() }} (
    select
        *,
        case
            when not_computed_because is null then 'ok'
            when not_computed_because = 'source_has_no_rows' then 'missing'
            when not_computed_because in ('zero_variance', 'denominator_is_zero', 'quantile_bounds_tied') then 'refused'
            else 'insufficient'
        end as status,
        exact_p_value is not null as is_exact,
        alpha / 2 as tail,
        case when not_computed_because is null then effect / nullif(standard_error, 0) end as t_statistic
    from compared
),

-- The t quantile in three steps: a guess and two refinements (see student_t_quantile_refine).
guessed as {{ evalhouse.materialized() }} (
    select
        *,
        {{ evalhouse.student_t_quantile_guess('tail', 'degrees_of_freedom') }} as critical_guess
    from classified
),

refined_once as {{ evalhouse.materialized() }} (
    select
        *,
        {{ evalhouse.student_t_quantile_refine('critical_guess', 'tail', 'degrees_of_freedom') }} as critical_once
    from guessed
),

refined_twice as {{ evalhouse.materialized() }} (
    select
        *,
        {{ evalhouse.student_t_quantile_refine('critical_once', 'tail', 'degrees_of_freedom') }} as critical_value
    from refined_once
),

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

intervals as {{ evalhouse.materialized() }} (
    select
        *,
        effect - critical_value * standard_error as t_ci_lower,
        effect + critical_value * standard_error as t_ci_upper,
        {% if settings.analysis.relative_method == 'fieller' -%}
        curvature > 0 as has_relative,
        (value_control * effect - squared_critical * covariance_difference_control) / nullif(curvature, 0) as relative_centre,
        sqrt(greatest(
            squared_critical * (
                variance_control * effect * effect + difference_variance * value_control * value_control
                - 2 * value_control * effect * covariance_difference_control
            )
            - squared_critical * squared_critical * (
                variance_control * difference_variance - covariance_difference_control * covariance_difference_control
            ), 0
        )) / nullif(curvature, 0) as relative_half_width
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
        * (pooled_units_control + pooled_units_treatment) as sequential_scale,
        {{ evalhouse.normal_quantile('(1 - alpha / 2)') }} + {{ evalhouse.normal_quantile('0.8') }} as detectable_errors
    from relative_pieces
),

sequenced as {{ evalhouse.materialized() }} (
    select
        *,
        standard_error * sqrt(2 * (sequential_scale + 1) * ln(sqrt(sequential_scale + 1) / alpha) / sequential_scale)
            as sequential_half_width,
        0.5 * ln(sequential_scale + 1) - sequential_scale * t_statistic * t_statistic / (2 * (sequential_scale + 1))
            as ln_sequential_p,
        not is_exact and independent_units >= 200 and pooled_units_control >= 100 and pooled_units_treatment >= 100
            as has_sequential_interval
    from intervals
),

computed as {{ evalhouse.materialized() }} (
    select
        *,
        case when is_exact then exact_p_value else t_p_value end as p_value,
        case when is_exact then exact_ci_lower_absolute else t_ci_lower end as ci_lower_absolute,
        case when is_exact then exact_ci_upper_absolute else t_ci_upper end as ci_upper_absolute,
        case when is_exact then value_control > 0 else has_relative end as is_relative,
        case when is_exact then exact_ci_lower_relative else control_sign * relative_centre - relative_half_width end
            as ci_lower_relative,
        case when is_exact then exact_ci_upper_relative else control_sign * relative_centre + relative_half_width end
            as ci_upper_relative,
        case
            when is_exact then exact_sequential_p_value
            when has_sequential_interval and ln_sequential_p >= 0 then 1
            when has_sequential_interval then {{ evalhouse.exp_safe('ln_sequential_p') }}
        end as sequential_p_value,
        detectable_errors * case when is_exact then sqrt(exact_planning_variance) else standard_error end as mde_absolute,
        case
            when is_exact then 'exact'
            when is_clustered then 'clustered'
            when is_cuped and phases > 1 then 'cuped_stratified'
            when is_cuped then 'cuped'
            when phases > 1 then 'stratified'
            else 'none'
        end as adjustment
    from sequenced
),

-- Which p-values are judged together, and by which rule (see "multiplicity" in DECISIONS.md).
families as (
    select
        *,
        case
            when dimension_name = 'all' and metric_role = 'goal' then 'goals'
            when dimension_name = 'all' and metric_role = 'guardrail' then 'guardrail ' || metric_name || ' ' || variation_id
            when dimension_name = 'all' then 'secondary metrics'
            {%- if protected_names %}
            when dimension_name in ('{{ protected_names | join("', '") }}') and metric_role <> 'secondary'
                then 'protected slices'
            {%- endif %}
            else 'slices of ' || dimension_name
        end as family,
        case
            when dimension_name = 'all' and metric_role = 'goal' then '{{ settings.analysis.correction }}'
            when dimension_name = 'all' and metric_role = 'guardrail' then 'none'
            when dimension_name = 'all' then 'bh'
            {%- if protected_names %}
            when dimension_name in ('{{ protected_names | join("', '") }}') and metric_role <> 'secondary' then 'holm'
            {%- endif %}
            else 'bh'
        end as correction
    from computed
),

ranked as (
    select
        *,
        count(p_value) over (partition by experiment_id, family) as tests,
        row_number() over (
            partition by experiment_id, family
            order by p_value nulls last, metric_name, variation_id, dimension_name, dimension_value
        ) as p_rank
    from families
),

adjusted as (
    select
        *,
        case
            when correction = 'none' then p_value
            when correction = 'holm'
                then max(p_value * (tests - p_rank + 1)) over (
                    partition by experiment_id, family
                    order by p_rank
                    rows between unbounded preceding and current row
                )
            else min(p_value * tests / p_rank) over (
                partition by experiment_id, family
                order by p_rank
                rows between current row and unbounded following
            )
        end as p_value_of_family
    from ranked
),

final as (
    select
        *,
        case
            when p_value is null then null
            when p_value_of_family > 1 then 1
            else p_value_of_family
        end as p_value_adjusted,
        case
            when not_computed_because is not null then not_computed_because
            when not is_relative then 'control_not_separated_from_zero'
            when is_exact then 'no_sequential_interval_for_exact_test'
            when not has_sequential_interval then 'fewer_than_100_units_for_sequential'
        end as status_reason
    from adjusted
)

select
    cast(experiment_id as {{ dbt.type_string() }}) as experiment_id,
    cast(metric_name as {{ dbt.type_string() }}) as metric_name,
    cast(metric_role as {{ dbt.type_string() }}) as metric_role,
    cast(metric_type as {{ dbt.type_string() }}) as metric_type,
    cast(variation_id as {{ dbt.type_string() }}) as variation_id,
    cast(control_variation_id as {{ dbt.type_string() }}) as control_variation_id,
    cast(dimension_name as {{ dbt.type_string() }}) as dimension_name,
    cast(dimension_value as {{ dbt.type_string() }}) as dimension_value,
    cast(units_control as {{ dbt.type_bigint() }}) as units_control,
    cast(units_treatment as {{ dbt.type_bigint() }}) as units_treatment,
    cast(value_control as {{ evalhouse.type_double() }}) as value_control,
    cast(value_treatment as {{ evalhouse.type_double() }}) as value_treatment,
    cast(effect as {{ evalhouse.type_double() }}) as effect_absolute,
    cast(standard_error as {{ evalhouse.type_double() }}) as se_absolute,
    cast(case when status = 'ok' then ci_lower_absolute end as {{ evalhouse.type_double() }}) as ci_lower_absolute,
    cast(case when status = 'ok' then ci_upper_absolute end as {{ evalhouse.type_double() }}) as ci_upper_absolute,
    cast(case when status = 'ok' and is_relative then effect / abs(value_control) end as {{ evalhouse.type_double() }})
        as effect_relative,
    cast(case when status = 'ok' and is_relative then ci_lower_relative end as {{ evalhouse.type_double() }})
        as ci_lower_relative,
    cast(case when status = 'ok' and is_relative then ci_upper_relative end as {{ evalhouse.type_double() }})
        as ci_upper_relative,
    cast(case when status = 'ok' then p_value end as {{ evalhouse.type_double() }}) as p_value,
    cast(case when status = 'ok' then p_value_adjusted end as {{ evalhouse.type_double() }}) as p_value_adjusted,
    cast(case when status = 'ok' and has_sequential_interval then effect - sequential_half_width end
        as {{ evalhouse.type_double() }}) as sequential_ci_lower_absolute,
    cast(case when status = 'ok' and has_sequential_interval then effect + sequential_half_width end
        as {{ evalhouse.type_double() }}) as sequential_ci_upper_absolute,
    cast(case when status = 'ok' then sequential_p_value end as {{ evalhouse.type_double() }}) as sequential_p_value,
    cast(adjustment as {{ dbt.type_string() }}) as adjustment,
    cast(variance_reduction as {{ evalhouse.type_double() }}) as variance_reduction,
    cast(case when status = 'ok' then mde_absolute end as {{ evalhouse.type_double() }}) as mde_absolute,
    {%- if settings.analysis.bayesian %}
    cast(case
        when status = 'ok' and standard_error > 0 and direction = 'increase' then {{ evalhouse.normal_cdf('t_statistic') }}
        when status = 'ok' and standard_error > 0 then {{ evalhouse.normal_sf('t_statistic') }}
    end as {{ evalhouse.type_double() }}) as probability_better,
    {%- else %}
    cast(null as {{ evalhouse.type_double() }}) as probability_better,
    {%- endif %}
    cast(status as {{ dbt.type_string() }}) as status,
    cast(status_reason as {{ dbt.type_string() }}) as status_reason,
    cast(case
        when status <> 'ok' then 'not_computed'
        when p_value_adjusted >= alpha or effect = 0 then 'inconclusive'
        when (effect > 0 and direction = 'increase') or (effect < 0 and direction = 'decrease') then 'better'
        else 'worse'
    end as {{ dbt.type_string() }}) as verdict,
    as_of_at
from final
