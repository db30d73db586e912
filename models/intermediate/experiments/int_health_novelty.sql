{#- Whether an effect wears off, or builds up, with the days since exposure. The trend is that of the difference between the
    arms; phases are combined as in int_comparisons. One row per goal, of the variation for which it is worst. -#}
{%- set double = evalhouse.type_double() -%}
{%- set metrics = evalhouse.trending_metrics() | map(attribute='name') | list -%}
{%- set parts = ['slope', 'first', 'last'] -%}
{%- set key = 'experiment_id, metric_name, variation_id' -%}
{%- set trend_alpha = 0.01 -%}
{%- set least_units = 30 -%}

with trends as (
    select * from {{ ref('evalhouse', 'int_novelty_trends') }}
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

metrics as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
    where
        {% if metrics -%}
        metric_name in ('{{ metrics | join("', '") }}')
        {%- else -%}
        1 = 0
        {%- endif %}
),

wanted as (
    select
        experiments.experiment_id,
        experiments.is_clustered,
        metrics.metric_name
    from experiments
    cross join metrics
),

phases as (
    select
        {{ evalhouse.qualified('treatment', key) }},
        treatment.cohort_days,
        control.units as units_control,
        treatment.units as units_treatment,
        experiments.alpha,
        control.units * treatment.units / (control.units + treatment.units) as information
        {%- for part in parts %},
        treatment.mean_{{ part }} - control.mean_{{ part }} as effect_{{ part }},
        control.variance_{{ part }} / control.units as variance_{{ part }}_control,
        treatment.variance_{{ part }} / treatment.units as variance_{{ part }}_treatment
        {%- endfor %}
    from trends as treatment
    inner join experiments on treatment.experiment_id = experiments.experiment_id
    inner join trends as control
        on treatment.experiment_id = control.experiment_id
        and treatment.metric_name = control.metric_name
        and treatment.phase_number = control.phase_number
        and control.variation_id = experiments.control_variation_id
    where
        treatment.variation_id <> experiments.control_variation_id
        and control.units > 1
        and treatment.units > 1
),

weighted as (
    select
        *,
        information / sum(information) over (partition by {{ key }}) as phase_weight
    from phases
),

combined as (
    select
        {{ key }},
        max(cohort_days) as cohort_days,
        min(alpha) as alpha,
        sum(units_control) as units_control,
        sum(units_treatment) as units_treatment
        {%- for part in parts %},
        sum(phase_weight * effect_{{ part }}) as effect_{{ part }},
        sum(phase_weight * phase_weight * (variance_{{ part }}_control + variance_{{ part }}_treatment))
            as variance_{{ part }},
        sum(phase_weight * phase_weight * phase_weight * phase_weight * (
            variance_{{ part }}_control * variance_{{ part }}_control / (units_control - 1)
            + variance_{{ part }}_treatment * variance_{{ part }}_treatment / (units_treatment - 1)
        )) as variance_of_variance_{{ part }}
        {%- endfor %}
    from weighted
    group by {{ key }}
),

statistics as {{ evalhouse.materialized() }} (
    select
        *,
        units_control >= {{ least_units }} and units_treatment >= {{ least_units }} as has_enough_units
        {%- for part in parts %},
        effect_{{ part }} / nullif(sqrt(variance_{{ part }}), 0) as t_{{ part }},
        variance_{{ part }} * variance_{{ part }} / nullif(variance_of_variance_{{ part }}, 0) as dof_{{ part }}
        {%- endfor %}
    from combined
),

tested as {{ evalhouse.materialized() }} (
    select
        *,
        case when has_enough_units then {{ evalhouse.student_t_two_sided_p('t_slope', 'dof_slope') }} end as p_slope,
        case when has_enough_units then {{ evalhouse.student_t_two_sided_p('t_last', 'dof_last') }} end as p_last
    from statistics
),

limited as (
    select
        *,
        {{ trend_alpha }} / nullif(count(p_slope) over (partition by experiment_id, metric_name), 0) as threshold
    from tested
),

classified as (
    select
        *,
        (effect_slope > 0 and effect_first < 0) or (effect_slope < 0 and effect_first > 0) as is_shrinking,
        coalesce(p_last < alpha, false) as has_late_effect,
        (effect_last > 0 and effect_first > 0) or (effect_last < 0 and effect_first < 0) as has_kept_sign
    from limited
),

judged as (
    select
        *,
        case
            when p_slope is null then 'unknown'
            when p_slope >= threshold then 'steady'
            when not is_shrinking then 'primacy'
            when not has_late_effect then 'novelty'
            when has_kept_sign then 'persists'
            else 'reversal'
        end as trend
    from classified
),

worst as (
    select
        *,
        row_number() over (
            partition by experiment_id, metric_name
            order by
                case trend
                    when 'reversal' then 1
                    when 'novelty' then 2
                    when 'persists' then 3
                    when 'primacy' then 4
                    when 'steady' then 5
                    else 6
                end,
                p_slope nulls last,
                variation_id
        ) as badness
    from judged
)

select
    wanted.experiment_id,
    'novelty' as check_name,
    wanted.metric_name as scope,
    case
        when worst.trend in ('novelty', 'reversal') then 'warn'
        when worst.trend in ('persists', 'primacy', 'steady') then 'pass'
        else 'insufficient'
    end as status,
    worst.t_slope as statistic,
    worst.p_slope as p_value,
    coalesce(worst.threshold, {{ trend_alpha }}) as threshold,
    case
        when wanted.is_clustered then 'units come in clusters: not tested'
        when worst.badness is null
            then 'no units of both arms with 6 complete days after exposure, or half of the days observed'
        when worst.trend = 'unknown' then 'too few units, or no variance, in the cohort'
        else 'variation ' || worst.variation_id || ', per day: effect '
            || {{ evalhouse.readable_number('worst.effect_first') }} || ' in the first third of '
            || cast(worst.cohort_days as {{ dbt.type_string() }}) || ' days after exposure, '
            || {{ evalhouse.readable_number('worst.effect_last') }} || ' in the last; '
            || case worst.trend
                when 'reversal' then 'reversal: it turns into its opposite'
                when 'novelty' then 'novelty: it wears off and is no longer shown'
                when 'persists' then 'it shrinks but persists'
                when 'primacy' then 'primacy: it grows'
                else 'no trend'
            end
    end as detail
from wanted
left join worst
    on wanted.experiment_id = worst.experiment_id
    and wanted.metric_name = worst.metric_name
    and worst.badness = 1
