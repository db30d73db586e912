{#-
    Quantiles by arm and slice with the variance of Deng, Knoblich and Lu (KDD 2018): the share of values at or below
    the quantile has the sampling error of a ratio over independent groups (units, or clusters of them), and the order
    statistics one critical value of that error around the quantile carry it over to the value's scale, without a
    density.
-#}
{%- set slice_key = 'look_date, slice_number' -%}
{%- set names = ['experiment_id', 'variation_id', 'metric_name', 'dimension_name', 'dimension_value'] -%}
{%- set group_columns = names + [
    'is_clustered', 'alpha', 'quantile', 'quantile_of', 'quantile_value', 'units', 'values_of_group',
    'values_at_or_below'
] -%}
{%- set rank_columns = ['metric_value', 'values_before', 'values_through', 'values_in_slice'] -%}

with current_values as (
    select * from {{ ref('evalhouse', 'int_quantile_values') }}
),

look_bins as (
    select * from {{ ref('evalhouse', 'int_quantile_look_bins') }}
),

current_groups as (
    select * from {{ ref('evalhouse', 'int_quantile_groups') }}
),

look_groups as (
    select * from {{ ref('evalhouse', 'int_quantile_look_groups') }}
),

ranked as (
    select
        {{ slice_key }},
        {{ rank_columns | join(',\n        ') }}
    from current_values

    union all

    select
        {{ slice_key }},
        {{ rank_columns | join(',\n        ') }}
    from look_bins
),

grouped_values as (
    select
        {{ slice_key }},
        {{ group_columns | join(',\n        ') }}
    from current_groups

    union all

    select
        {{ slice_key }},
        {{ group_columns | join(',\n        ') }}
    from look_groups
),

shares as {{ evalhouse.materialized() }} (
    select
        {{ slice_key }},
        {%- for name in names %}
        min({{ name }}) as {{ name }},
        {%- endfor %}
        min(quantile) as quantile,
        min(quantile_value) as quantile_value,
        max(alpha) as alpha,
        cast(sum(units) as {{ dbt.type_bigint() }}) as units,
        count(*) as independent_groups,
        max(case when is_clustered or quantile_of = 'events' then 1 else 0 end) as is_grouped,
        sum(values_of_group) as values_in_slice,
        sum(values_at_or_below) / sum(values_of_group) as share_at_or_below,
        avg(values_of_group) as mean_values,
        var_samp(values_at_or_below) as var_at_or_below,
        var_samp(values_of_group) as var_values,
        {{ evalhouse.covar_samp('values_at_or_below', 'values_of_group') }} as cov_at_or_below_values
    from grouped_values
    group by {{ slice_key }}
),

share_errors as {{ evalhouse.materialized() }} (
    select
        *,
        case
            when is_grouped = 0 then sqrt(quantile * (1 - quantile) / units)
            when independent_groups > 1 then sqrt(greatest(
                var_at_or_below + share_at_or_below * share_at_or_below * var_values
                - 2 * share_at_or_below * cov_at_or_below_values, 0
            ) / independent_groups) / mean_values
        end as share_error,
        {{ evalhouse.normal_quantile('1 - alpha / 2') }} as critical_value
    from shares
),

bounded as {{ evalhouse.materialized() }} (
    select
        *,
        quantile - critical_value * share_error as lower_fraction,
        quantile + critical_value * share_error as upper_fraction
    from share_errors
),

order_statistics as (
    select
        {{ evalhouse.qualified('ranked', slice_key) }},
        {{ evalhouse.order_statistic('lower_fraction') }} as lower_value,
        {{ evalhouse.order_statistic('upper_fraction') }} as upper_value
    from (
        select
            ranked.*,
            bounded.lower_fraction,
            bounded.upper_fraction
        from ranked
        inner join bounded
            on {{ evalhouse.joined('ranked', 'bounded', slice_key) }}
        where bounded.lower_fraction > 0 and bounded.upper_fraction < 1
    ) as ranked
    group by {{ evalhouse.qualified('ranked', slice_key) }}
)

select
    bounded.look_date,
    {{ evalhouse.qualified('bounded', names | join(', ')) }},
    bounded.units,
    bounded.independent_groups,
    bounded.values_in_slice,
    bounded.quantile_value,
    bounded.share_at_or_below,
    bounded.share_error,
    order_statistics.lower_value,
    order_statistics.upper_value,
    -- Value per unit of share: carries an error of the share over to the scale of the metric.
    (order_statistics.upper_value - order_statistics.lower_value)
    / nullif(2 * bounded.critical_value * bounded.share_error, 0) as value_per_share,
    case
        when bounded.lower_fraction is null or bounded.lower_fraction <= 0 or bounded.upper_fraction >= 1
            then 'too_few_units_for_quantile'
        when order_statistics.upper_value <= order_statistics.lower_value then 'quantile_bounds_tied'
    end as refused_because
from bounded
left join order_statistics
    on {{ evalhouse.joined('bounded', 'order_statistics', slice_key) }}
