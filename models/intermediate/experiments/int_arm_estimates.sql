{#- Every kind of metric in one form: the arm's value (means: from the experiment's `centre`) and covariate value with
    the variances and covariance of both.
    Ratios enter linearised (delta method): (y - R d) / mean(d) stands for the value of a unit. -#}
with moments as (
    select * from {{ ref('evalhouse', 'int_arm_moments') }}
),

quantiles as (
    select * from {{ ref('evalhouse', 'int_quantile_estimates') }}
),

metrics as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
),

ratios as {{ evalhouse.materialized() }} (
    select
        moments.*,
        metrics.metric_type,
        case when metrics.metric_type = 'ratio' then moments.mean_y / nullif(moments.mean_d, 0) else moments.mean_y end
            as metric_value,
        case when metrics.metric_type = 'ratio' then moments.mean_x / nullif(moments.mean_w, 0) else moments.mean_x end
            as covariate_value
    from moments
    inner join metrics on moments.metric_name = metrics.metric_name
    where metrics.metric_type <> 'quantile'
),

unit_variances as {{ evalhouse.materialized() }} (
    select
        *,
        case
            when metric_type in ('proportion', 'retention', 'funnel') then metric_value * (1 - metric_value)
            when metric_type = 'ratio'
                then (var_y + metric_value * metric_value * var_d - 2 * metric_value * cov_yd)
                    / nullif(mean_d * mean_d, 0)
            else var_y
        end as unit_variance,
        case
            when metric_type = 'ratio'
                then (var_x + covariate_value * covariate_value * var_w - 2 * covariate_value * cov_xw)
                    / nullif(mean_w * mean_w, 0)
            else var_x
        end as unit_variance_covariate,
        case
            when metric_type = 'ratio'
                then (
                    cov_yx - covariate_value * cov_yw - metric_value * cov_dx + metric_value * covariate_value * cov_dw
                ) / nullif(mean_d * mean_w, 0)
            else cov_yx
        end as unit_covariance
    from ratios
),

-- What rounding leaves of no variance is no variance: of a constant, relative to its size; of a ratio that is the same
-- for every unit, relative to the terms that cancel.
noise as (
    select
        *,
        case
            when metric_type = 'ratio'
                then 1e-12 * (var_y + metric_value * metric_value * var_d) / nullif(mean_d * mean_d, 0)
            else 1e-24 * (coalesce(centre * centre, 0) + metric_value * metric_value)
        end as noise_of_variance,
        case
            when metric_type = 'ratio'
                then 1e-12 * (var_x + covariate_value * covariate_value * var_w) / nullif(mean_w * mean_w, 0)
            else 1e-24 * covariate_value * covariate_value
        end as noise_of_covariate_variance
    from unit_variances
),

cleaned as {{ evalhouse.materialized() }} (
    select
        *,
        case when unit_variance <= noise_of_variance then 0 else unit_variance end as clean_variance,
        case when unit_variance_covariate <= noise_of_covariate_variance then 0 else unit_variance_covariate end
            as clean_covariate_variance
    from noise
)

select
    look_date,
    experiment_id,
    variation_id,
    phase_number,
    dimension_name,
    dimension_value,
    metric_name,
    metric_type,
    units,
    units as total_weight,
    coalesce(centre, 0) as centre,
    metric_value,
    metric_value as influence_base,
    clean_variance / units as variance,
    mean_d,
    covariate_value,
    clean_covariate_variance / units as covariate_variance,
    unit_covariance / units as covariance,
    mean_w,
    cast(1 as {{ evalhouse.type_double() }}) as value_per_influence,
    cast(null as {{ dbt.type_string() }}) as refused_because
from cleaned
where units > 0

union all

select
    look_date,
    experiment_id,
    variation_id,
    1 as phase_number,
    dimension_name,
    dimension_value,
    metric_name,
    'quantile' as metric_type,
    units,
    values_in_slice as total_weight,
    0 as centre,
    quantile_value as metric_value,
    share_at_or_below as influence_base,
    value_per_share * value_per_share * share_error * share_error as variance,
    cast(null as {{ evalhouse.type_double() }}) as mean_d,
    cast(null as {{ evalhouse.type_double() }}) as covariate_value,
    cast(null as {{ evalhouse.type_double() }}) as covariate_variance,
    cast(null as {{ evalhouse.type_double() }}) as covariance,
    cast(null as {{ evalhouse.type_double() }}) as mean_w,
    value_per_share as value_per_influence,
    refused_because
from quantiles
