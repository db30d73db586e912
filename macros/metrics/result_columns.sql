{#- The columns that experiment_results and experiment_results_daily share, in the order of the contract. Expects a
    relation of the form of int_results. -#}
{% macro result_columns() -%}
    {%- set settings = evalhouse.settings() -%}
    cast(experiment_id as {{ dbt.type_string() }}) as experiment_id,
    cast(metric_name as {{ dbt.type_string() }}) as metric_name,
    cast(metric_role as {{ dbt.type_string() }}) as metric_role,
    cast(metric_type as {{ dbt.type_string() }}) as metric_type,
    cast(variation_id as {{ dbt.type_string() }}) as variation_id,
    cast(control_variation_id as {{ dbt.type_string() }}) as control_variation_id,
    cast(dimension_name as {{ dbt.type_string() }}) as dimension_name,
    cast(dimension_value as {{ dbt.type_string() }}) as dimension_value,
    cast(units_control as {{ dbt.type_bigint() }}) as units_control,
    cast(units_treatment as {{ dbt.type_bigint() }}) as units_treatment,
    cast(value_control as {{ evalhouse.type_double() }}) as value_control,
    cast(value_treatment as {{ evalhouse.type_double() }}) as value_treatment,
    cast(effect as {{ evalhouse.type_double() }}) as effect_absolute,
    cast(standard_error as {{ evalhouse.type_double() }}) as se_absolute,
    cast(ci_lower_absolute as {{ evalhouse.type_double() }}) as ci_lower_absolute,
    cast(ci_upper_absolute as {{ evalhouse.type_double() }}) as ci_upper_absolute,
    cast(effect_relative as {{ evalhouse.type_double() }}) as effect_relative,
    cast(ci_lower_relative as {{ evalhouse.type_double() }}) as ci_lower_relative,
    cast(ci_upper_relative as {{ evalhouse.type_double() }}) as ci_upper_relative,
    cast(p_value as {{ evalhouse.type_double() }}) as p_value,
    cast(p_value_adjusted as {{ evalhouse.type_double() }}) as p_value_adjusted,
    cast(sequential_ci_lower_absolute as {{ evalhouse.type_double() }}) as sequential_ci_lower_absolute,
    cast(sequential_ci_upper_absolute as {{ evalhouse.type_double() }}) as sequential_ci_upper_absolute,
    cast(sequential_p_value as {{ evalhouse.type_double() }}) as sequential_p_value,
    cast(coalesce(adjustment, 'none') as {{ dbt.type_string() }}) as adjustment,
    cast(variance_reduction as {{ evalhouse.type_double() }}) as variance_reduction,
    cast(mde_absolute as {{ evalhouse.type_double() }}) as mde_absolute,
    {%- if settings.analysis.bayesian %}
    cast(case
        -- Two shares without any spread: equal, or certain.
        when status = 'ok' and t_statistic is null and effect = 0 then 0.5
        when status = 'ok' and t_statistic is null and (effect > 0) = (direction = 'increase') then 1
        when status = 'ok' and t_statistic is null then 0
        when direction = 'increase' then {{ evalhouse.normal_cdf('t_statistic') }}
        else {{ evalhouse.normal_sf('t_statistic') }}
    end as {{ evalhouse.type_double() }}) as probability_better,
    {%- else %}
    cast(null as {{ evalhouse.type_double() }}) as probability_better,
    {%- endif %}
    cast(status as {{ dbt.type_string() }}) as status,
    cast(status_reason as {{ dbt.type_string() }}) as status_reason,
    cast(verdict as {{ dbt.type_string() }}) as verdict,
    as_of_at
{%- endmacro %}
