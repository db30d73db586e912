{#-
    Every guardrail at every look, per variation and declared slice: the harm (positive is worse), the margin that it
    must stay below, and the variance of the contrast that decides, harm less margin. A relative margin moves with the
    control's value, so its contrast is linear in both arms' values and needs no division. An arm with clearly fewer
    units is given the other's variance where its own is smaller (see int_comparisons).
-#}
{%- set guardrails = evalhouse.settings().guardrails -%}
{%- set string = dbt.type_string() -%}
{%- set double = evalhouse.type_double() -%}
{%- set key = 'experiment_id, metric_name, dimension_name, dimension_value, variation_id' -%}

with results as (
    select * from {{ ref('evalhouse', 'int_results') }}
),

comparisons as (
    select * from {{ ref('evalhouse', 'int_comparisons') }}
),

metrics as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
),

guardrails as (
    {%- if guardrails %}
    {%- for guardrail in guardrails %}
    {%- for slice_name in ['all'] + guardrail.slices %}
    select
        cast('{{ guardrail.metric }}' as {{ string }}) as metric_name,
        cast('{{ slice_name }}' as {{ string }}) as slice_name,
        {%- for margin in ['margin_absolute', 'margin_relative'] %}
        cast({{ guardrail[margin] if guardrail[margin] is not none else 'null' }} as {{ double }}) as {{ margin }},
        {%- endfor %}
        cast('{{ guardrail.action }}' as {{ string }}) as action
    {{ 'union all' if not loop.last }}
    {%- endfor %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
    {%- else %}
    select
        cast(null as {{ string }}) as metric_name,
        cast(null as {{ string }}) as slice_name,
        cast(null as {{ double }}) as margin_absolute,
        cast(null as {{ double }}) as margin_relative,
        cast(null as {{ string }}) as action
    from (select 1 as nothing) as no_row
    where 1 = 0
    {%- endif %}
),

checks as (
    select
        results.look_date,
        results.experiment_id,
        results.metric_name,
        results.dimension_name,
        results.dimension_value,
        results.variation_id,
        results.control_variation_id,
        metrics.metric_type,
        results.alpha,
        count(*) over (partition by results.look_date, results.experiment_id) as checks_of_day,
        results.status,
        results.status_reason,
        results.as_of_at as look_at,
        guardrails.action,
        guardrails.margin_absolute,
        guardrails.margin_relative,
        case when metrics.direction = 'increase' then -1 else 1 end as harm_sign
    from results
    inner join metrics on results.metric_name = metrics.metric_name
    inner join guardrails
        on results.metric_name = guardrails.metric_name
        and results.dimension_name = guardrails.slice_name
),

-- A breach is looked for in all checks at once: they share the error, also after a slice has lost its units.
shared_errors as (
    select
        *,
        case when status <> 'missing' then look_date end as comparison_date,
        alpha / max(checks_of_day) over (
            partition by experiment_id
            order by look_date
            range between unbounded preceding and current row
        ) as alpha_of_breach
    from checks
),

estimates as (
    select
        checks.*,
        comparisons.phases,
        comparisons.is_clustered,
        comparisons.independent_units,
        comparisons.units_control,
        comparisons.units_treatment,
        comparisons.value_control,
        comparisons.value_treatment,
        comparisons.difference_variance,
        comparisons.variance_control,
        comparisons.covariance_arms,
        comparisons.unseen_variance_control,
        comparisons.unseen_variance_treatment,
        checks.harm_sign * comparisons.effect as harm,
        coalesce(checks.margin_absolute, checks.margin_relative * abs(comparisons.value_control)) as margin,
        coalesce(checks.margin_relative, 0) * case when comparisons.value_control < 0 then -1 else 1 end as margin_slope
    from shared_errors as checks
    left join comparisons
        on checks.comparison_date = comparisons.look_date
        and {{ evalhouse.joined('checks', 'comparisons', key) }}
        and comparisons.refused_because is null
)

select
    *,
    case
        when metric_type in ('proportion', 'retention', 'funnel') and not is_clustered
            then value_control * units_control < 29.5 or (1 - value_control) * units_control < 29.5
                or value_treatment * units_treatment < 29.5 or (1 - value_treatment) * units_treatment < 29.5
                or units_control < 100 or units_treatment < 100
        else false
    end as is_rare,
    difference_variance + 2 * harm_sign * margin_slope * (variance_control - covariance_arms)
    + margin_slope * margin_slope * variance_control
    + (harm_sign + margin_slope) * (harm_sign + margin_slope) * unseen_variance_control
    + unseen_variance_treatment as contrast_variance
from estimates
