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

inference as (
    select * from {{ ref('evalhouse', 'int_inference') }}
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
        experiments.as_of_at,
        -- Null where a fact that the metric needs has no rows.
        case when of_denominator.newest_at is not null then of_fact.newest_at end as fact_newest_at
    from experiments
    inner join variations
        on experiments.experiment_id = variations.experiment_id
        and not variations.is_control
    inner join slices on experiments.experiment_id = slices.experiment_id
    cross join metrics
    left join watermarks as of_fact on metrics.fact_name = of_fact.source_name
    left join watermarks as of_denominator on metrics.denominator_fact_name = of_denominator.source_name
),

compared as (
    select
        wanted.*,
        -- Units of a phase that lacks an arm tell nothing about the difference and are not in the estimate.
        coalesce(inference.units_control, control.units, 0) as units_control,
        coalesce(inference.units_treatment, treatment.units, 0) as units_treatment,
        inference.value_control,
        inference.value_treatment,
        inference.effect,
        inference.standard_error,
        inference.t_statistic,
        inference.adjustment,
        inference.variance_reduction,
        case
            when wanted.fact_newest_at is null then 'source_has_no_rows'
            when control.units is null and treatment.units is null then 'no_units_in_either_arm'
            when control.units is null then 'no_units_in_control'
            when treatment.units is null then 'no_units_in_treatment'
            when inference.metric_name is null then 'no_phase_with_both_arms'
            else inference.reason
        end as status_reason,
        case
            when wanted.fact_newest_at is null then 'missing'
            when inference.metric_name is null then 'insufficient'
            when inference.not_computed_because is null then 'ok'
            when inference.not_computed_because in ('zero_variance', 'denominator_is_zero', 'quantile_bounds_tied')
                then 'refused'
            else 'insufficient'
        end as status,
        inference.p_value,
        inference.ci_lower_absolute,
        inference.ci_upper_absolute,
        inference.effect_relative,
        inference.ci_lower_relative,
        inference.ci_upper_relative,
        inference.sequential_p_value,
        inference.sequential_ci_lower_absolute,
        inference.sequential_ci_upper_absolute,
        inference.mde_absolute
    from wanted
    left join arms as control
        on wanted.experiment_id = control.experiment_id
        and wanted.metric_name = control.metric_name
        and wanted.dimension_name = control.dimension_name
        and wanted.dimension_value = control.dimension_value
        and wanted.control_variation_id = control.variation_id
    left join arms as treatment
        on {{ evalhouse.joined('wanted', 'treatment', key) }}
    left join inference
        on {{ evalhouse.joined('wanted', 'inference', key) }}
),

-- Which p-values are judged together, and by which rule (see "multiplicity" in DECISIONS.md).
families as (
    select
        *,
        case
            when dimension_name = 'all' and metric_role = 'goal' then 'goals'
            when dimension_name = 'all' and metric_role = 'guardrail' then 'guardrail'
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
    from compared
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
            when status <> 'ok' then null
            when p_value_of_family > 1 then 1
            else p_value_of_family
        end as p_value_adjusted
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
    cast(ci_lower_absolute as {{ evalhouse.type_double() }}) as ci_lower_absolute,
    cast(ci_upper_absolute as {{ evalhouse.type_double() }}) as ci_upper_absolute,
    cast(effect_relative as {{ evalhouse.type_double() }}) as effect_relative,
    cast(ci_lower_relative as {{ evalhouse.type_double() }}) as ci_lower_relative,
    cast(ci_upper_relative as {{ evalhouse.type_double() }}) as ci_upper_relative,
    cast(p_value as {{ evalhouse.type_double() }}) as p_value,
    cast(p_value_adjusted as {{ evalhouse.type_double() }}) as p_value_adjusted,
    cast(sequential_ci_lower_absolute as {{ evalhouse.type_double() }}) as sequential_ci_lower_absolute,
    cast(sequential_ci_upper_absolute as {{ evalhouse.type_double() }}) as sequential_ci_upper_absolute,
    cast(sequential_p_value as {{ evalhouse.type_double() }}) as sequential_p_value,
    cast(coalesce(adjustment, 'none') as {{ dbt.type_string() }}) as adjustment,
    cast(variance_reduction as {{ evalhouse.type_double() }}) as variance_reduction,
    cast(mde_absolute as {{ evalhouse.type_double() }}) as mde_absolute,
    {%- if settings.analysis.bayesian %}
    cast(case
        -- Two shares without any spread: equal, or certain.
        when status = 'ok' and t_statistic is null and effect = 0 then 0.5
        when status = 'ok' and t_statistic is null and (effect > 0) = (direction = 'increase') then 1
        when status = 'ok' and t_statistic is null then 0
        when direction = 'increase' then {{ evalhouse.normal_cdf('t_statistic') }}
        else {{ evalhouse.normal_sf('t_statistic') }}
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
