-- p-value and intervals come from one test: no effect lies inside the interval exactly when it is not rejected. A bound
-- within rounding of zero belongs to both sides.
with all_results as (
    select * from {{ ref('evalhouse', 'experiment_results') }}
    where status = 'ok'
),

experiments as (
    select * from {{ ref('evalhouse', 'dim_experiments') }}
),

results as (
    select
        all_results.*,
        experiments.alpha
    from all_results
    inner join experiments on all_results.experiment_id = experiments.experiment_id
)

select *
from results
where
    ci_lower_absolute > ci_upper_absolute
    or ci_lower_relative > ci_upper_relative
    or (p_value < alpha and ci_lower_absolute < -1e-9 * se_absolute and ci_upper_absolute > 1e-9 * se_absolute)
    or (p_value >= alpha and (ci_lower_absolute > 1e-9 * se_absolute or ci_upper_absolute < -1e-9 * se_absolute))
