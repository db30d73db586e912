{%- set settings = evalhouse.settings() -%}
{%- set srm_alpha = settings.analysis.srm_alpha -%}
{%- set string = dbt.type_string() -%}
{%- set double = evalhouse.type_double() -%}
{%- set windowed = evalhouse.metric_plan().metrics | rejectattr('type', 'equalto', 'quantile')
    | selectattr('missing', 'equalto', 'zero') | list -%}
{%- set stored_checks = ['ramps', 'sequential_sample_ratios', 'weekdays', 'concurrency', 'novelty']
    + (['trace_joins'] if evalhouse.has_input('traces') else []) -%}

with experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
),

arm_counts as (
    select * from {{ ref('evalhouse', 'int_arm_counts') }}
),

arm_estimates as (
    select * from {{ ref('evalhouse', 'int_arm_estimates') }}
    where look_date = {{ evalhouse.current_look() }}
),

comparisons as (
    select * from {{ ref('evalhouse', 'int_comparisons') }}
    where look_date = {{ evalhouse.current_look() }}
),

watermarks as (
    select * from {{ ref('evalhouse', 'int_watermarks') }}
),

phases as (
    select * from {{ ref('evalhouse', 'int_phases') }}
),

ramps as (
    select * from {{ ref('evalhouse', 'int_health_ramps') }}
),

sequential_sample_ratios as (
    select * from {{ ref('evalhouse', 'int_health_srm_sequential') }}
),

weekdays as (
    select * from {{ ref('evalhouse', 'int_health_weekdays') }}
),

concurrency as (
    select * from {{ ref('evalhouse', 'int_health_concurrency') }}
),

novelty as (
    select * from {{ ref('evalhouse', 'int_health_novelty') }}
),
{%- if evalhouse.has_input('traces') %}

trace_joins as (
    select * from {{ ref('evalhouse', 'int_health_trace_join') }}
),
{%- endif %}

results as (
    select * from {{ ref('evalhouse', 'experiment_results') }}
    where dimension_name = 'all'
),

metrics as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
),

-- Sample ratio: observed against planned units, within phases and summed over them. A phase too small for chi-square
-- (fewer than 8 expected in an arm) is left out.
split_by_phase as (
    select
        experiment_id,
        check_name,
        scope,
        phase_number,
        sum((units - expected_units) * (units - expected_units) / nullif(expected_units * design_effect, 0))
            as chi_square,
        count(expected_units) - 1 as degrees_of_freedom,
        min(expected_units) >= 8 as is_large_enough,
        sum(units) as units
    from arm_counts
    group by experiment_id, check_name, scope, phase_number
),

phased_experiments as (
    select distinct experiment_id
    from split_by_phase
    where phase_number > 1
),

splits as (
    select
        experiment_id,
        check_name,
        scope,
        sum(case when is_large_enough then chi_square end) as chi_square,
        sum(case when is_large_enough then degrees_of_freedom end) as degrees_of_freedom,
        sum(units) as units
    from split_by_phase
    group by experiment_id, check_name, scope

    union all

    select
        phases.experiment_id,
        'srm_phase' as check_name,
        'phase ' || cast(phases.phase_number as {{ string }}) as scope,
        case when phases.is_large_enough then phases.chi_square end as chi_square,
        case when phases.is_large_enough then phases.degrees_of_freedom end as degrees_of_freedom,
        phases.units
    from split_by_phase as phases
    inner join phased_experiments on phases.experiment_id = phased_experiments.experiment_id
    where phases.check_name = 'srm'
),

-- A ramp that nobody declared: the plan is one split, the exposures show several.
changed_splits as (
    select
        experiment_id,
        min(first_exposed_at) as first_change_at
    from phases
    where phase_source = 'detected' and phase_number > 1
    group by experiment_id
),

sample_ratios as (
    select
        splits.experiment_id,
        splits.check_name,
        splits.scope,
        splits.chi_square as statistic,
        case when degrees_of_freedom > 0 then {{ evalhouse.chi_square_sf('chi_square', 'degrees_of_freedom') }} end
            as p_value,
        -- One of many slices is expected to look odd: the error budget is shared by the slices of a kind.
        {{ srm_alpha }} / count(*) over (partition by splits.experiment_id, splits.check_name) as threshold,
        cast(cast(units as {{ dbt.type_bigint() }}) as {{ string }}) || ' units'
        || case
            when changed_splits.first_change_at is null then ''
            else '; the split first changed on ' || cast(cast(changed_splits.first_change_at as date) as {{ string }})
                || ': if that was meant, declare it in experiment_phases'
        end as detail
    from splits
    left join changed_splits on splits.experiment_id = changed_splits.experiment_id
),

unplanned_arms as (
    select
        experiment_id,
        'srm_unplanned_arm' as check_name,
        variation_id as scope,
        sum(units) as statistic,
        cast(sum(units) as {{ string }}) || ' units in an arm that the plan gives no traffic' as detail
    from arm_counts
    where check_name = 'srm' and expected_units is null and units > 0
    group by experiment_id, variation_id
),

by_arm as (
    select
        experiment_id,
        variation_id,
        cast(count(*) as {{ double }}) as units,
        cast(sum(case when second_variation_at is not null then 1 else 0 end) as {{ double }}) as units_in_several
    from exposed_units
    group by experiment_id, variation_id
),

exposure_totals as (
    select
        experiment_id,
        sum(units) as units,
        sum(units_in_several) as units_in_several,
        count(*) as arms
    from by_arm
    group by experiment_id
),

-- Whether being in several arms depends on the arm seen first: if it does, leaving those units out biases what is left.
asymmetries as (
    select
        by_arm.experiment_id,
        min(totals.units_in_several) as units_in_several,
        min(totals.units) as units,
        min(totals.arms) - 1 as degrees_of_freedom,
        sum(
            (by_arm.units_in_several - by_arm.units * totals.units_in_several / totals.units)
            * (by_arm.units_in_several - by_arm.units * totals.units_in_several / totals.units)
            / nullif(by_arm.units * totals.units_in_several / totals.units, 0)
            + (by_arm.units_in_several - by_arm.units * totals.units_in_several / totals.units)
            * (by_arm.units_in_several - by_arm.units * totals.units_in_several / totals.units)
            / nullif(by_arm.units * (totals.units - totals.units_in_several) / totals.units, 0)
        ) as chi_square
    from by_arm
    inner join exposure_totals as totals on by_arm.experiment_id = totals.experiment_id
    group by by_arm.experiment_id
),

asymmetry_tests as (
    select
        *,
        case
            when units_in_several >= 10 and degrees_of_freedom > 0
                then {{ evalhouse.chi_square_sf('chi_square', 'degrees_of_freedom') }}
        end as p_value
    from asymmetries
),

-- Before anybody was exposed the arms must be alike: the metric's value before exposure is the response.
imbalances as (
    select
        experiment_id,
        metric_name,
        variation_id,
        covariate_difference / nullif(sqrt(covariate_difference_variance), 0) as t_statistic,
        covariate_degrees_of_freedom
    from comparisons
    where dimension_name = 'all' and covariate_difference is not null
),

imbalance_tests as (
    select
        experiment_id,
        metric_name,
        variation_id,
        t_statistic,
        case
            when covariate_degrees_of_freedom > 0
                then {{ evalhouse.student_t_two_sided_p('t_statistic', 'covariate_degrees_of_freedom') }}
        end as p_value,
        count(*) over (partition by experiment_id) as tests,
        row_number() over (
            partition by experiment_id, metric_name
            order by abs(t_statistic) desc nulls last, variation_id
        ) as strongest
    from imbalances
),

analysed as (
    select
        experiment_id,
        sum(units) as units
    from arm_counts
    where check_name = 'srm_analysed'
    group by experiment_id
),

mature as (
    select
        experiment_id,
        metric_name,
        sum(units) as units
    from arm_estimates
    where dimension_name = 'all'
    group by experiment_id, metric_name
),

checks as (
    select
        experiment_id,
        check_name,
        scope,
        {{ evalhouse.status_of_test('p_value', 'threshold') }} as status,
        statistic,
        p_value,
        threshold,
        detail
    from sample_ratios

    union all

    select
        experiment_id,
        check_name,
        scope,
        'fail' as status,
        statistic,
        cast(null as {{ double }}) as p_value,
        0 as threshold,
        detail
    from unplanned_arms

    union all

    select
        experiment_id,
        'multiple_exposure' as check_name,
        'all' as scope,
        case
            when units_in_several > 0.1 * units then 'fail'
            when units_in_several > 0.01 * units and units_in_several >= 10 then 'warn'
            else 'pass'
        end as status,
        units_in_several / units as statistic,
        cast(null as {{ double }}) as p_value,
        0.01 as threshold,
        cast(cast(units_in_several as {{ dbt.type_bigint() }}) as {{ string }}) || ' of '
        || cast(cast(units as {{ dbt.type_bigint() }}) as {{ string }})
        || ' units saw several variations and are left out' as detail
    from exposure_totals

    union all

    select
        experiment_id,
        'multiple_exposure_asymmetry' as check_name,
        'all' as scope,
        {{ evalhouse.status_of_test('p_value', srm_alpha) }} as status,
        chi_square as statistic,
        p_value,
        {{ srm_alpha }} as threshold,
        cast(cast(units_in_several as {{ dbt.type_bigint() }}) as {{ string }})
        || ' units in several variations, by first arm seen' as detail
    from asymmetry_tests

    union all

    select
        experiment_id,
        'pre_exposure_imbalance' as check_name,
        metric_name as scope,
        {{ evalhouse.status_of_test('p_value', srm_alpha ~ ' / tests') }} as status,
        t_statistic as statistic,
        p_value,
        {{ srm_alpha }} / tests as threshold,
        'variation ' || variation_id || ' differed most from control before exposure' as detail
    from imbalance_tests
    where strongest = 1

    union all

    select
        experiment_id,
        'power' as check_name,
        metric_name as scope,
        case
            when max(mde_absolute / nullif(abs(value_control), 0)) is null then 'insufficient'
            -- An effect that was found needed no more units.
            when max(case when verdict = 'inconclusive' then mde_absolute / nullif(abs(value_control), 0) end) > 0.1
                then 'warn'
            else 'pass'
        end as status,
        max(mde_absolute / nullif(abs(value_control), 0)) as statistic,
        cast(null as {{ double }}) as p_value,
        0.1 as threshold,
        'smallest relative effect found with 80% power, worst variation' as detail
    from results
    where metric_role = 'goal'
    group by experiment_id, metric_name

    union all

    select
        experiments.experiment_id,
        'freshness' as check_name,
        watermarks.source_name as scope,
        case
            when watermarks.newest_at is null then 'fail'
            when {{ evalhouse.seconds_between('watermarks.newest_at', 'experiments.horizon_at') }} > 259200 then 'fail'
            when {{ evalhouse.seconds_between('watermarks.newest_at', 'experiments.horizon_at') }} > 86400 then 'warn'
            else 'pass'
        end as status,
        {{ evalhouse.seconds_between('watermarks.newest_at', 'experiments.horizon_at') }} / 3600 as statistic,
        cast(null as {{ double }}) as p_value,
        24 as threshold,
        'hours by which the source trails the end of the experiment or the newest source' as detail
    from experiments
    cross join watermarks
    where watermarks.source_name not in ('exposures', 'turns', 'sessions')

    union all

    select
        experiment_id,
        'freshness' as check_name,
        'exposures' as scope,
        case
            when last_exposed_at is null then 'fail'
            when {{ evalhouse.seconds_between('last_exposed_at', 'horizon_at') }} > 259200 then 'fail'
            when {{ evalhouse.seconds_between('last_exposed_at', 'horizon_at') }} > 86400 then 'warn'
            else 'pass'
        end as status,
        {{ evalhouse.seconds_between('last_exposed_at', 'horizon_at') }} / 3600 as statistic,
        cast(null as {{ double }}) as p_value,
        24 as threshold,
        'hours since the last exposure to this experiment, counted back from its end or the newest source' as detail
    from experiments

    union all

    select
        analysed.experiment_id,
        'maturity' as check_name,
        metrics.metric_name as scope,
        case
            when coalesce(mature.units, 0) = 0 then 'insufficient'
            when mature.units < 0.5 * analysed.units then 'warn'
            else 'pass'
        end as status,
        1 - coalesce(mature.units, 0) / analysed.units as statistic,
        cast(null as {{ double }}) as p_value,
        0.5 as threshold,
        cast(cast(analysed.units - coalesce(mature.units, 0) as {{ dbt.type_bigint() }}) as {{ string }})
        || ' units whose window is not over yet are not counted' as detail
    from analysed
    cross join metrics
    left join mature
        on analysed.experiment_id = mature.experiment_id
        and metrics.metric_name = mature.metric_name
    where
        {% if windowed -%}
        metrics.metric_name in ('{{ windowed | map(attribute="name") | join("', '") }}')
        {%- else -%}
        1 = 0
        {%- endif %}
    {%- for source in stored_checks %}

    union all

    select
        experiment_id,
        check_name,
        scope,
        status,
        statistic,
        p_value,
        threshold,
        detail
    from {{ source }}
    {%- endfor %}
)

select
    cast(experiment_id as {{ string }}) as experiment_id,
    cast(check_name as {{ string }}) as check_name,
    cast(scope as {{ string }}) as scope,
    cast(status as {{ string }}) as status,
    cast(statistic as {{ double }}) as statistic,
    cast(p_value as {{ double }}) as p_value,
    cast(threshold as {{ double }}) as threshold,
    cast(detail as {{ string }}) as detail
from checks
