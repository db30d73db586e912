{%- set settings = evalhouse.settings() -%}
{%- set margins = {'absolute': [], 'relative': []} -%}
{%- for guardrail in settings.guardrails -%}
    {%- set scale = 'absolute' if guardrail.margin_absolute is not none else 'relative' -%}
    {%- do margins[scale].append((guardrail.metric, guardrail['margin_' ~ scale])) -%}
{%- endfor -%}
{%- set pair = 'goal_metric_name, other_metric_name' -%}

with results as (
    select * from {{ ref('evalhouse', 'experiment_results') }}
    where dimension_name = 'all'
),

metrics as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
),

covariances as (
    select * from {{ ref('evalhouse', 'int_effect_covariances') }}
),

correlations as (
    select * from {{ ref('evalhouse', 'int_effect_correlations') }}
),

described as (
    select
        results.*,
        case when metrics.direction = 'increase' then 1 else -1 end as good_sign,
        -- The end of the interval that lies towards harm, harm counted positive.
        case when metrics.direction = 'increase' then -results.ci_lower_absolute else results.ci_upper_absolute end
            as loss_limit_absolute,
        case when metrics.direction = 'increase' then -results.ci_lower_relative else results.ci_upper_relative end
            as loss_limit_relative,
        {%- for scale, entries in margins.items() %}
        {% if entries -%}
        case results.metric_name
            {%- for name, margin in entries %}
            when '{{ name }}' then cast({{ margin }} as {{ evalhouse.type_double() }})
            {%- endfor %}
        end
        {%- else -%}
        cast(null as {{ evalhouse.type_double() }})
        {%- endif %} as margin_{{ scale }}{{ ',' if not loop.last }}
        {%- endfor %}
    from results
    inner join metrics on results.metric_name = metrics.metric_name
),

within_experiments as (
    select
        of_goal.experiment_id,
        of_goal.variation_id,
        of_goal.metric_name as goal_metric_name,
        of_other.metric_name as other_metric_name,
        of_other.metric_role as other_metric_role,
        of_goal.effect_absolute as goal_effect_absolute,
        of_goal.se_absolute as goal_se_absolute,
        of_goal.p_value_adjusted as goal_p_value_adjusted,
        of_goal.verdict as goal_verdict,
        of_other.effect_absolute as other_effect_absolute,
        of_other.se_absolute as other_se_absolute,
        of_other.p_value_adjusted as other_p_value_adjusted,
        of_other.verdict as other_verdict,
        of_other.loss_limit_absolute as other_loss_limit,
        case
            when of_other.margin_absolute is not null then of_other.loss_limit_absolute < of_other.margin_absolute
            when of_other.margin_relative is not null then of_other.loss_limit_relative < of_other.margin_relative
        end as is_loss_excluded,
        of_goal.metric_type = 'quantile' or of_other.metric_type = 'quantile' as has_quantile,
        of_goal.good_sign * of_other.good_sign * coalesce(covariances.covariance, 0)
        / nullif(of_goal.se_absolute * of_other.se_absolute, 0) as error_correlation,
        case when of_goal.status <> 'ok' then of_goal.status else of_other.status end as status,
        case
            when of_goal.status <> 'ok' then 'goal_' || of_goal.status_reason
            when of_other.status <> 'ok' then 'other_' || of_other.status_reason
        end as not_computed_because,
        of_goal.as_of_at
    from described as of_goal
    inner join described as of_other
        on of_goal.experiment_id = of_other.experiment_id
        and of_goal.variation_id = of_other.variation_id
        and of_goal.metric_name <> of_other.metric_name
    left join covariances
        on of_goal.experiment_id = covariances.experiment_id
        and of_goal.variation_id = covariances.variation_id
        and of_goal.metric_name = covariances.goal_metric_name
        and of_other.metric_name = covariances.other_metric_name
    where of_goal.metric_role = 'goal'
),

newest as (
    select max(as_of_at) as as_of_at
    from results
),

-- Every pair is looked at over all experiments, so the pairs are one exploratory family.
ranked as (
    select
        correlations.*,
        metrics.metric_role as other_metric_role,
        newest.as_of_at,
        count(correlations.p_value) over () as tests,
        row_number() over (
            order by correlations.p_value nulls last, correlations.goal_metric_name, correlations.other_metric_name
        ) as p_rank
    from correlations
    inner join metrics on correlations.other_metric_name = metrics.metric_name
    cross join newest
),

adjusted as (
    select
        *,
        min(p_value * tests / p_rank) over (order by p_rank rows between current row and unbounded following)
            as p_value_of_family
    from ranked
),

across_experiments as (
    select
        *,
        case when p_value is null then null when p_value_of_family > 1 then 1 else p_value_of_family end
            as p_value_adjusted
    from adjusted
),

final as (
    select
        'experiment' as scope,
        experiment_id,
        variation_id,
        {{ pair }},
        other_metric_role,
        1 as experiments,
        goal_effect_absolute,
        goal_se_absolute,
        goal_p_value_adjusted,
        goal_verdict,
        other_effect_absolute,
        other_se_absolute,
        other_p_value_adjusted,
        other_verdict,
        case when status = 'ok' then other_loss_limit end as other_loss_limit,
        case when status = 'ok' then is_loss_excluded end as is_loss_excluded,
        case when status = 'ok' and not has_quantile then error_correlation end as error_correlation,
        cast(null as {{ evalhouse.type_double() }}) as observed_correlation,
        cast(null as {{ evalhouse.type_double() }}) as correlation,
        cast(null as {{ evalhouse.type_double() }}) as goal_reliability,
        cast(null as {{ evalhouse.type_double() }}) as other_reliability,
        -- Both claims have to hold, so the weaker evidence decides.
        case
            when status <> 'ok' then null
            when goal_p_value_adjusted >= other_p_value_adjusted then goal_p_value_adjusted
            else other_p_value_adjusted
        end as p_value_adjusted,
        status,
        case
            when not_computed_because is not null then not_computed_because
            when has_quantile then 'no_error_covariance_with_quantiles'
            when error_correlation is null then 'zero_variance'
        end as status_reason,
        case
            when status <> 'ok' then 'not_computed'
            when goal_verdict = 'better' and other_verdict = 'worse' then 'trade_off'
            when goal_verdict = 'better' and other_verdict = 'better' then 'aligned'
            when goal_verdict = 'worse' and other_verdict = 'worse' then 'both_worse'
            when goal_verdict = 'worse' and other_verdict = 'better' then 'reverse'
            else 'no_evidence'
        end as verdict,
        as_of_at
    from within_experiments

    union all

    select
        'across_experiments' as scope,
        'all' as experiment_id,
        'all' as variation_id,
        {{ pair }},
        other_metric_role,
        experiments,
        cast(null as {{ evalhouse.type_double() }}) as goal_effect_absolute,
        cast(null as {{ evalhouse.type_double() }}) as goal_se_absolute,
        cast(null as {{ evalhouse.type_double() }}) as goal_p_value_adjusted,
        cast(null as {{ dbt.type_string() }}) as goal_verdict,
        cast(null as {{ evalhouse.type_double() }}) as other_effect_absolute,
        cast(null as {{ evalhouse.type_double() }}) as other_se_absolute,
        cast(null as {{ evalhouse.type_double() }}) as other_p_value_adjusted,
        cast(null as {{ dbt.type_string() }}) as other_verdict,
        cast(null as {{ evalhouse.type_double() }}) as other_loss_limit,
        cast(null as {{ dbt.type_boolean() }}) as is_loss_excluded,
        error_correlation,
        observed_correlation,
        correlation,
        goal_reliability,
        other_reliability,
        p_value_adjusted,
        case
            when reason is null then 'ok'
            when reason = 'fewer_than_20_experiments' then 'insufficient'
            else 'refused'
        end as status,
        reason as status_reason,
        case
            when reason is not null then 'not_computed'
            when p_value_adjusted >= {{ settings.analysis.alpha }} then 'no_evidence'
            when correlation < 0 then 'trade_off'
            else 'aligned'
        end as verdict,
        as_of_at
    from across_experiments
)

select
    cast(scope as {{ dbt.type_string() }}) as scope,
    cast(experiment_id as {{ dbt.type_string() }}) as experiment_id,
    cast(variation_id as {{ dbt.type_string() }}) as variation_id,
    cast(goal_metric_name as {{ dbt.type_string() }}) as goal_metric_name,
    cast(other_metric_name as {{ dbt.type_string() }}) as other_metric_name,
    cast(other_metric_role as {{ dbt.type_string() }}) as other_metric_role,
    cast(experiments as {{ dbt.type_bigint() }}) as experiments,
    cast(goal_effect_absolute as {{ evalhouse.type_double() }}) as goal_effect_absolute,
    cast(goal_se_absolute as {{ evalhouse.type_double() }}) as goal_se_absolute,
    cast(goal_p_value_adjusted as {{ evalhouse.type_double() }}) as goal_p_value_adjusted,
    cast(goal_verdict as {{ dbt.type_string() }}) as goal_verdict,
    cast(other_effect_absolute as {{ evalhouse.type_double() }}) as other_effect_absolute,
    cast(other_se_absolute as {{ evalhouse.type_double() }}) as other_se_absolute,
    cast(other_p_value_adjusted as {{ evalhouse.type_double() }}) as other_p_value_adjusted,
    cast(other_verdict as {{ dbt.type_string() }}) as other_verdict,
    cast(other_loss_limit as {{ evalhouse.type_double() }}) as other_loss_limit,
    cast(is_loss_excluded as {{ dbt.type_boolean() }}) as is_loss_excluded,
    cast(error_correlation as {{ evalhouse.type_double() }}) as error_correlation,
    cast(observed_correlation as {{ evalhouse.type_double() }}) as observed_correlation,
    cast(correlation as {{ evalhouse.type_double() }}) as correlation,
    cast(goal_reliability as {{ evalhouse.type_double() }}) as goal_reliability,
    cast(other_reliability as {{ evalhouse.type_double() }}) as other_reliability,
    cast(p_value_adjusted as {{ evalhouse.type_double() }}) as p_value_adjusted,
    cast(status as {{ dbt.type_string() }}) as status,
    cast(status_reason as {{ dbt.type_string() }}) as status_reason,
    cast(verdict as {{ dbt.type_string() }}) as verdict,
    as_of_at
from final
