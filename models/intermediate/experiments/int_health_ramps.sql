{#- Whether a ramp would have fooled whoever throws its phases together, and whether the effect differs between the first
    phase and the last. One row per metric, of the variation for which it is worst. -#}
{%- set string = dbt.type_string() -%}
{%- set double = evalhouse.type_double() -%}
{%- set contrast_alpha = 0.01 -%}

with ramp_estimates as (
    select * from {{ ref('evalhouse', 'int_ramp_estimates') }}
),

metrics as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
    where metric_role in ('goal', 'guardrail')
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
    where last_phase_number > 1
),

wanted as (
    select
        experiments.experiment_id,
        metrics.metric_name,
        metrics.metric_type
    from experiments
    cross join metrics
),

distances as (
    select
        *,
        (pooled_effect - stratified_effect) / nullif(standard_error, 0) as distance,
        (pooled_effect > 0 and stratified_effect < 0) or (pooled_effect < 0 and stratified_effect > 0) as has_turned
    from ramp_estimates
),

reversals as (
    select
        *,
        case
            when distance is null then 0
            when abs(distance) <= 1 then 1
            when has_turned then 3
            else 2
        end as severity
    from distances
),

worst_reversals as (
    select
        *,
        row_number() over (
            partition by experiment_id, metric_name
            order by severity desc, abs(distance) desc nulls last, variation_id
        ) as badness
    from reversals
),

contrasts as {{ evalhouse.materialized() }} (
    select
        *,
        case
            when contrast_degrees_of_freedom > 0
                then {{ evalhouse.student_t_two_sided_p('contrast_t', 'contrast_degrees_of_freedom') }}
        end as p_value
    from ramp_estimates
),

worst_contrasts as (
    select
        *,
        -- The worst of several variations.
        {{ contrast_alpha }} / nullif(count(p_value) over (partition by experiment_id, metric_name), 0) as threshold,
        row_number() over (
            partition by experiment_id, metric_name
            order by p_value nulls last, variation_id
        ) as badness
    from contrasts
)

select
    wanted.experiment_id,
    'ramp_reversal' as check_name,
    wanted.metric_name as scope,
    case
        when wanted.metric_type = 'quantile' then 'warn'
        when coalesce(worst_reversals.severity, 0) = 0 then 'insufficient'
        when worst_reversals.severity = 1 then 'pass'
        when worst_reversals.severity = 2 then 'warn'
        else 'fail'
    end as status,
    worst_reversals.distance as statistic,
    cast(null as {{ double }}) as p_value,
    cast(1 as {{ double }}) as threshold,
    case
        when wanted.metric_type = 'quantile'
            then 'quantiles are of all phases together: the ramp may pose as an effect'
        when worst_reversals.badness is null then 'no units in both arms'
        when worst_reversals.phases = 0 then 'no phase has both arms'
        else 'variation ' || worst_reversals.variation_id || ': effect '
            || {{ evalhouse.readable_number('worst_reversals.pooled_effect') }} || ' with all phases thrown together, '
            || {{ evalhouse.readable_number('worst_reversals.stratified_effect') }}
            || ' within phases (standard error ' || {{ evalhouse.readable_number('worst_reversals.standard_error') }}
            || '); results use the latter'
    end as detail
from wanted
left join worst_reversals
    on wanted.experiment_id = worst_reversals.experiment_id
    and wanted.metric_name = worst_reversals.metric_name
    and worst_reversals.badness = 1

union all

select
    wanted.experiment_id,
    'phase_contrast' as check_name,
    wanted.metric_name as scope,
    case
        when worst_contrasts.p_value is null then 'insufficient'
        when worst_contrasts.p_value < worst_contrasts.threshold then 'warn'
        else 'pass'
    end as status,
    worst_contrasts.contrast_t as statistic,
    worst_contrasts.p_value,
    coalesce(worst_contrasts.threshold, {{ contrast_alpha }}) as threshold,
    case
        when wanted.metric_type = 'quantile' then 'quantiles are not estimated by phase'
        when worst_contrasts.badness is null then 'no units in both arms'
        when worst_contrasts.phases < 2 then 'fewer than two phases have both arms'
        when worst_contrasts.is_clustered then 'clusters may live through both phases: not tested'
        else 'variation ' || worst_contrasts.variation_id || ': effect '
            || {{ evalhouse.readable_number('worst_contrasts.effect_first') }} || ' in the first phase, '
            || {{ evalhouse.readable_number('worst_contrasts.effect_last') }} || ' in the last'
    end as detail
from wanted
left join worst_contrasts
    on wanted.experiment_id = worst_contrasts.experiment_id
    and wanted.metric_name = worst_contrasts.metric_name
    and worst_contrasts.badness = 1
