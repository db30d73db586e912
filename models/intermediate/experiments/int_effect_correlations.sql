{#-
    Do metrics move together over experiments, beyond what they share by chance? The observed covariance matrix of the
    effects less the mean covariance matrix of their sampling errors is that of the true effects. One treatment
    variation of each experiment takes part, the lowest id whose effects are both known: variations share a control, so
    their errors are not independent. Effects are absolute and signed so that positive is good.
-#}
{%- set pair = 'goal_metric_name, other_metric_name' -%}

with inference as (
    select * from {{ ref('evalhouse', 'int_inference') }}
    where look_date = {{ evalhouse.current_look() }} and dimension_name = 'all' and not_computed_because is null
),

covariances as (
    select * from {{ ref('evalhouse', 'int_effect_covariances') }}
),

metrics as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
),

gains as (
    select
        inference.experiment_id,
        inference.variation_id,
        inference.metric_name,
        metrics.metric_role,
        case when metrics.direction = 'increase' then 1 else -1 end as good_sign,
        case when metrics.direction = 'increase' then inference.effect else -inference.effect end as gain,
        inference.standard_error * inference.standard_error as error_variance
    from inference
    inner join metrics on inference.metric_name = metrics.metric_name
),

paired as (
    select
        of_goal.experiment_id,
        of_goal.metric_name as goal_metric_name,
        of_other.metric_name as other_metric_name,
        of_goal.gain as goal_gain,
        of_other.gain as other_gain,
        of_goal.error_variance as goal_error_variance,
        of_other.error_variance as other_error_variance,
        -- Without a unit that counts for both metrics nothing is shared. Whether quantiles share anything is not known.
        of_goal.good_sign * of_other.good_sign * coalesce(covariances.covariance, 0) as error_covariance,
        row_number() over (
            partition by of_goal.experiment_id, of_goal.metric_name, of_other.metric_name
            order by of_goal.variation_id
        ) as variation_rank
    from gains as of_goal
    inner join gains as of_other
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

one_per_experiment as (
    select
        *,
        cast(count(*) over (partition by {{ pair }}) as {{ evalhouse.type_double() }}) as experiments,
        goal_gain - avg(goal_gain) over (partition by {{ pair }}) as goal_deviation,
        other_gain - avg(other_gain) over (partition by {{ pair }}) as other_deviation
    from paired
    where variation_rank = 1
),

terms as (
    select
        *,
        goal_deviation * goal_deviation * experiments / nullif(experiments - 1, 0) as goal_square,
        other_deviation * other_deviation * experiments / nullif(experiments - 1, 0) as other_square,
        goal_deviation * other_deviation * experiments / nullif(experiments - 1, 0) as product
    from one_per_experiment
),

moments as (
    select
        {{ pair }},
        count(*) as experiments,
        avg(goal_square) as goal_variance,
        avg(other_square) as other_variance,
        avg(product) as covariance,
        avg(goal_error_variance) as goal_error_variance,
        avg(other_error_variance) as other_error_variance,
        avg(error_covariance) as error_covariance,
        sqrt(var_samp(product - error_covariance) / count(*)) as standard_error_of_covariance
    from terms
    group by {{ pair }}
),

true_moments as {{ evalhouse.materialized() }} (
    select
        *,
        goal_variance - goal_error_variance as goal_true_variance,
        other_variance - other_error_variance as other_true_variance,
        covariance - error_covariance as true_covariance,
        cast(experiments - 1 as {{ evalhouse.type_double() }}) as degrees_of_freedom
    from moments
),

correlated as {{ evalhouse.materialized() }} (
    select
        true_moments.*,
        true_covariance / nullif(standard_error_of_covariance, 0) as t_statistic,
        case
            when goal_true_variance > 0 and other_true_variance > 0
                then true_covariance / (sqrt(goal_true_variance) * sqrt(other_true_variance))
        end as correlation,
        case
            when goal_metrics.metric_type = 'quantile' or other_metrics.metric_type = 'quantile'
                then 'no_error_covariance_with_quantiles'
            when experiments < 20 then 'fewer_than_20_experiments'
            when goal_true_variance <= 0 then 'goal_effects_within_noise'
            when other_true_variance <= 0 then 'other_effects_within_noise'
        end as refused_because
    from true_moments
    inner join metrics as goal_metrics on true_moments.goal_metric_name = goal_metrics.metric_name
    inner join metrics as other_metrics on true_moments.other_metric_name = other_metrics.metric_name
),

judged as {{ evalhouse.materialized() }} (
    select
        *,
        case
            when refused_because is not null then refused_because
            when correlation > 1 or correlation < -1 then 'correlation_beyond_one'
            when t_statistic is null then 'zero_variance'
        end as reason
    from correlated
)

select
    {{ pair }},
    experiments,
    case
        -- Two points lie on a line.
        when experiments > 2
            then covariance / nullif(sqrt(goal_variance) * sqrt(other_variance), 0)
    end as observed_correlation,
    case
        when refused_because is null or refused_because <> 'no_error_covariance_with_quantiles'
            then error_covariance / nullif(sqrt(goal_error_variance) * sqrt(other_error_variance), 0)
    end as error_correlation,
    goal_true_variance / nullif(goal_variance, 0) as goal_reliability,
    other_true_variance / nullif(other_variance, 0) as other_reliability,
    case when reason is null then correlation end as correlation,
    case when reason is null then {{ evalhouse.student_t_two_sided_p('t_statistic', 'degrees_of_freedom') }} end
        as p_value,
    reason
from judged
