-- p-value and intervals come from one test: no effect lies inside the interval exactly when it is not rejected. A bound
-- within rounding of zero belongs to both sides.
with results as (
    select
        results.*,
        experiments.alpha
    from {{ ref('evalhouse', 'experiment_results') }} as results
    inner join {{ ref('evalhouse', 'dim_experiments') }} as experiments
        on results.experiment_id = experiments.experiment_id
    where results.status = 'ok'
)

select *
from results
where
    ci_lower_absolute > ci_upper_absolute
    or ci_lower_relative > ci_upper_relative
    or (p_value < alpha and ci_lower_absolute < -1e-9 * se_absolute and ci_upper_absolute > 1e-9 * se_absolute)
    or (p_value >= alpha and (ci_lower_absolute > 1e-9 * se_absolute or ci_upper_absolute < -1e-9 * se_absolute))
