{#-
    Every row that somebody may look for, of the newest data and of every look before it, with its status, the p-value
    judged together with its family, and the verdict. The newest data are judged by the fixed-horizon test; looks, of
    which there are many, by the always-valid one.
-#}
{%- set settings = evalhouse.settings() -%}
{%- set key = 'look_date, experiment_id, metric_name, dimension_name, dimension_value, variation_id' -%}
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

daily_looks as (
    select * from {{ ref('evalhouse', 'int_looks') }}
),

arm_estimates as (
    select * from {{ ref('evalhouse', 'int_arm_estimates') }}
),

look_moments as (
    select * from {{ ref('evalhouse', 'int_arm_looks_wide') }}
),

watermarks as (
    select * from {{ ref('evalhouse', 'int_watermarks') }}
),

arms as (
    select
        {{ key }},
        sum(units) as units
    from arm_estimates
    group by {{ key }}
),

inference as (
    select * from {{ ref('evalhouse', 'int_inference') }}
),

looks as (
    select
        experiment_id,
        {{ evalhouse.current_look() }} as look_date,
        as_of_at as look_at
    from experiments

    union all

    select
        experiment_id,
        as_of_date as look_date,
        look_ends_at as look_at
    from daily_looks
),

measured_slices as (
    select
        experiment_id,
        look_date,
        'all' as dimension_name,
        'all' as dimension_value
    from looks

    union all

    select
        experiment_id,
        look_date,
        dimension_name,
        dimension_value
    from look_moments
    where analysed_units > 0
),

slices as (
    select distinct
        experiment_id,
        look_date,
        dimension_name,
        dimension_value
    from measured_slices
),

-- Whether or not there is anything to compare.
grid as (
    select
        looks.look_date,
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
        looks.look_at as as_of_at,
        of_fact.newest_at is null or of_denominator.newest_at is null as is_without_rows,
        -- A day is complete in a source that has a row of that day or of a later one.
        case
            when looks.look_date = {{ evalhouse.current_look() }} then false
            when cast(of_fact.newest_at as date) < looks.look_date then true
            else coalesce(cast(of_denominator.newest_at as date) < looks.look_date, false)
        end as is_incomplete
    from looks
    inner join experiments on looks.experiment_id = experiments.experiment_id
    inner join variations
        on experiments.experiment_id = variations.experiment_id
        and not variations.is_control
    inner join slices
        on looks.experiment_id = slices.experiment_id
        and looks.look_date = slices.look_date
    cross join metrics
    left join watermarks as of_fact on metrics.fact_name = of_fact.source_name
    left join watermarks as of_denominator on metrics.denominator_fact_name = of_denominator.source_name
),

-- Null where the sources end before: as a condition of its own in the join it would make DuckDB compare row with row.
wanted as (
    select
        *,
        case when not is_incomplete then look_date end as inference_date
    from grid
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
            when wanted.is_without_rows then 'source_has_no_rows'
            when wanted.is_incomplete then 'source_not_complete'
            when control.units is null and treatment.units is null then 'no_units_in_either_arm'
            when control.units is null then 'no_units_in_control'
            when treatment.units is null then 'no_units_in_treatment'
            when inference.metric_name is null then 'no_phase_with_both_arms'
            else inference.reason
        end as status_reason,
        case
            when wanted.is_without_rows or wanted.is_incomplete then 'missing'
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
        on wanted.look_date = control.look_date
        and wanted.experiment_id = control.experiment_id
        and wanted.metric_name = control.metric_name
        and wanted.dimension_name = control.dimension_name
        and wanted.dimension_value = control.dimension_value
        and wanted.control_variation_id = control.variation_id
    left join arms as treatment
        on {{ evalhouse.joined('wanted', 'treatment', key) }}
    left join inference
        on wanted.inference_date = inference.look_date
        and wanted.experiment_id = inference.experiment_id
        and wanted.metric_name = inference.metric_name
        and wanted.dimension_name = inference.dimension_name
        and wanted.dimension_value = inference.dimension_value
        and wanted.variation_id = inference.variation_id
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

judged as (
    select
        *,
        case
            when status <> 'ok' then null
            when look_date = {{ evalhouse.current_look() }} then p_value
            else sequential_p_value
        end as judged_p_value
    from families
),

ranked as (
    select
        *,
        count(judged_p_value) over (partition by look_date, experiment_id, family) as tests,
        row_number() over (
            partition by look_date, experiment_id, family
            order by judged_p_value nulls last, metric_name, variation_id, dimension_name, dimension_value
        ) as p_rank
    from judged
),

adjusted as (
    select
        *,
        case
            when correction = 'none' then judged_p_value
            when correction = 'holm'
                then max(judged_p_value * (tests - p_rank + 1)) over (
                    partition by look_date, experiment_id, family
                    order by p_rank
                    rows between unbounded preceding and current row
                )
            else min(judged_p_value * tests / p_rank) over (
                partition by look_date, experiment_id, family
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
            when judged_p_value is null then null
            when p_value_of_family > 1 then 1
            -- p * n / n may be a rounding below p.
            when p_value_of_family < judged_p_value then judged_p_value
            else p_value_of_family
        end as p_value_adjusted
    from adjusted
)

select
    *,
    case
        when status <> 'ok' then 'not_computed'
        when p_value_adjusted is null or p_value_adjusted >= alpha or effect = 0 then 'inconclusive'
        when (effect > 0 and direction = 'increase') or (effect < 0 and direction = 'decrease') then 'better'
        else 'worse'
    end as verdict
from final
