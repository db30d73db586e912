{%- set protected_names = evalhouse.settings().protected_dimensions -%}
{%- set key = 'experiment_id, metric_name, variation_id' -%}

with results as (
    select * from {{ ref('evalhouse', 'experiment_results') }}
    where metric_role in ('goal', 'guardrail')
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

interactions as (
    select * from {{ ref('evalhouse', 'int_interaction_tests') }}
),

exact_tests as (
    select * from {{ ref('evalhouse', 'int_exact_tests') }}
    where look_date = {{ evalhouse.current_look() }}
),

metrics as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
),

overall as (
    select * from results
    where dimension_name = 'all'
),

slices as (
    select
        results.*,
        {% if protected_names -%}
        results.dimension_name in ('{{ protected_names | join("', '") }}')
        {%- else -%}
        false
        {%- endif %} as is_protected
    from results
    where results.dimension_name <> 'all'
),

-- Interaction tests of an experiment are judged together: protected dimensions by Holm, the others by
-- Benjamini-Hochberg.
tested as (
    select
        interactions.*,
        {% if protected_names -%}
        interactions.dimension_name in ('{{ protected_names | join("', '") }}')
        {%- else -%}
        false
        {%- endif %} as is_protected
    from interactions
    inner join metrics on interactions.metric_name = metrics.metric_name
    where metrics.metric_role in ('goal', 'guardrail')
),

ranked as (
    select
        *,
        count(p_value) over (partition by experiment_id, is_protected) as tests,
        row_number() over (
            partition by experiment_id, is_protected
            order by p_value nulls last, metric_name, variation_id, dimension_name
        ) as p_rank
    from tested
),

families as (
    select
        *,
        case
            when is_protected
                then max(p_value * (tests - p_rank + 1)) over (
                    partition by experiment_id, is_protected
                    order by p_rank
                    rows between unbounded preceding and current row
                )
            else min(p_value * tests / p_rank) over (
                partition by experiment_id, is_protected
                order by p_rank
                rows between current row and unbounded following
            )
        end as p_value_of_family
    from ranked
),

adjusted as (
    select
        *,
        case when p_value is null then null when p_value_of_family > 1 then 1 else p_value_of_family end
            as p_value_adjusted
    from families
),

compared as (
    select
        slices.*,
        overall.effect_absolute as overall_effect_absolute,
        overall.ci_lower_absolute as overall_ci_lower_absolute,
        overall.ci_upper_absolute as overall_ci_upper_absolute,
        overall.p_value_adjusted as overall_p_value_adjusted,
        overall.verdict as overall_verdict,
        experiments.alpha,
        adjusted.q_statistic,
        adjusted.degrees_of_freedom,
        adjusted.p_value as interaction_p_value,
        adjusted.p_value_adjusted as interaction_p_value_adjusted,
        coalesce(adjusted.slices, 0) as slices_tested,
        adjusted.average_effect,
        adjusted.variance_of_effects,
        case when adjusted.metric_name is null then 'fewer_than_two_slices' else adjusted.reason end
            as interaction_reason,
        case
            when slices.status <> 'ok' then null
            when exact_tests.planning_variance is not null then exact_tests.planning_variance
            else slices.se_absolute * slices.se_absolute
        end as variance
    from slices
    inner join overall
        on {{ evalhouse.joined('slices', 'overall', key) }}
    inner join experiments on slices.experiment_id = experiments.experiment_id
    left join adjusted
        on {{ evalhouse.joined('slices', 'adjusted', key ~ ', dimension_name') }}
    left join exact_tests
        on {{ evalhouse.joined('slices', 'exact_tests', key ~ ', dimension_name, dimension_value') }}
),

final as (
    select
        *,
        count(*) over (partition by {{ key }}, dimension_name) - slices_tested as slices_left_out,
        -- Towards the average of the slices, the more the noisier the slice.
        average_effect + (effect_absolute - average_effect)
        * variance_of_effects / nullif(variance_of_effects + variance, 0) as effect_shrunk
    from compared
)

select
    cast(experiment_id as {{ dbt.type_string() }}) as experiment_id,
    cast(metric_name as {{ dbt.type_string() }}) as metric_name,
    cast(metric_role as {{ dbt.type_string() }}) as metric_role,
    cast(variation_id as {{ dbt.type_string() }}) as variation_id,
    cast(dimension_name as {{ dbt.type_string() }}) as dimension_name,
    cast(dimension_value as {{ dbt.type_string() }}) as dimension_value,
    is_protected,
    cast(units_control as {{ dbt.type_bigint() }}) as units_control,
    cast(units_treatment as {{ dbt.type_bigint() }}) as units_treatment,
    cast(effect_absolute as {{ evalhouse.type_double() }}) as effect_absolute,
    cast(se_absolute as {{ evalhouse.type_double() }}) as se_absolute,
    cast(ci_lower_absolute as {{ evalhouse.type_double() }}) as ci_lower_absolute,
    cast(ci_upper_absolute as {{ evalhouse.type_double() }}) as ci_upper_absolute,
    cast(p_value_adjusted as {{ evalhouse.type_double() }}) as p_value_adjusted,
    cast(verdict as {{ dbt.type_string() }}) as verdict,
    cast(overall_effect_absolute as {{ evalhouse.type_double() }}) as overall_effect_absolute,
    cast(overall_ci_lower_absolute as {{ evalhouse.type_double() }}) as overall_ci_lower_absolute,
    cast(overall_ci_upper_absolute as {{ evalhouse.type_double() }}) as overall_ci_upper_absolute,
    cast(overall_p_value_adjusted as {{ evalhouse.type_double() }}) as overall_p_value_adjusted,
    cast(overall_verdict as {{ dbt.type_string() }}) as overall_verdict,
    cast(effect_shrunk as {{ evalhouse.type_double() }}) as effect_shrunk,
    cast(q_statistic as {{ evalhouse.type_double() }}) as interaction_statistic,
    cast(degrees_of_freedom as {{ dbt.type_bigint() }}) as interaction_degrees_of_freedom,
    cast(interaction_p_value as {{ evalhouse.type_double() }}) as interaction_p_value,
    cast(interaction_p_value_adjusted as {{ evalhouse.type_double() }}) as interaction_p_value_adjusted,
    cast(slices_tested as {{ dbt.type_bigint() }}) as slices_tested,
    cast(slices_left_out as {{ dbt.type_bigint() }}) as slices_left_out,
    cast(interaction_reason as {{ dbt.type_string() }}) as interaction_reason,
    cast(status as {{ dbt.type_string() }}) as status,
    cast(case when status <> 'ok' then status_reason end as {{ dbt.type_string() }}) as status_reason,
    cast(case
        when status <> 'ok' then 'not_computed'
        when verdict = 'worse' and overall_verdict = 'better' then 'harmed_while_average_gains'
        when verdict = 'worse' then 'harmed'
        when verdict = 'better' then 'gains'
        when interaction_p_value_adjusted < alpha then 'differs'
        else 'none'
    end as {{ dbt.type_string() }}) as finding,
    as_of_at
from final
