{#- Every kind of metric in one form: the arm's value and covariate value with the variances and covariance of both.
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
                then (var_y + metric_value * metric_value * var_d - 2 * metric_value * cov_yd) / nullif(mean_d * mean_d, 0)
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

-- What rounding leaves of the variance of a constant is no variance.
cleaned as {{ evalhouse.materialized() }} (
    select
        unit_variances.*,
        {{ evalhouse.without_rounding_noise('unit_variance', 'metric_value') }} as clean_variance,
        {{ evalhouse.without_rounding_noise('unit_variance_covariate', 'covariate_value') }} as clean_covariate_variance
    from unit_variances
)

select
    experiment_id,
    variation_id,
    phase_number,
    dimension_name,
    dimension_value,
    metric_name,
    metric_type,
    units,
    units as weight_of_centre,
    metric_value,
    metric_value as centre_y,
    clean_variance / units as variance,
    mean_d,
    covariate_value,
    clean_covariate_variance / units as covariate_variance,
    unit_covariance / units as covariance,
    mean_w,
    cast(1 as {{ evalhouse.type_double() }}) as value_per_centre,
    cast(null as {{ dbt.type_string() }}) as refused_because
from cleaned
where units > 0

union all

select
    experiment_id,
    variation_id,
    1 as phase_number,
    dimension_name,
    dimension_value,
    metric_name,
    'quantile' as metric_type,
    units,
    values_in_slice as weight_of_centre,
    quantile_value as metric_value,
    share_at_or_below as centre_y,
    value_per_share * value_per_share * share_error * share_error as variance,
    cast(null as {{ evalhouse.type_double() }}) as mean_d,
    cast(null as {{ evalhouse.type_double() }}) as covariate_value,
    cast(null as {{ evalhouse.type_double() }}) as covariate_variance,
    cast(null as {{ evalhouse.type_double() }}) as covariance,
    cast(null as {{ evalhouse.type_double() }}) as mean_w,
    value_per_share as value_per_centre,
    refused_because
from quantiles
