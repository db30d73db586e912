{#-
    The rate of each failure mode on a day against the seven days before, tested with both sides clustered by unit. The
    error is that of no change: residuals from the rate of all eight days, and at least the error of independent turns,
    so that a day that by chance has hardly a failure does not look sure of itself.
-#}
{%- set slice = ['failure_date', 'model_version', 'dimension_name', 'dimension_value'] -%}
{%- set fewest_failing_units = 10 -%}
{%- set double = evalhouse.type_double() %}

with changes as (
    select * from {{ ref('evalhouse', 'int_failure_changes') }}
),

by_mode as (
    {%- for mode in evalhouse.failure_mode_rules() %}
    {{ 'union all' if not loop.first }}
    select
        {{ slice | join(',\n        ') }},
        '{{ mode.name }}' as failure_mode,
        cast({{ mode.base }}__units_now as {{ double }}) as units_now,
        cast({{ mode.base }}__units as {{ double }}) as units,
        cast({{ mode.name }}__units as {{ double }}) as failing_units,
        cast({{ mode.base }}__turns as {{ double }}) as turns_now,
        cast({{ mode.base }}__turns_before as {{ double }}) as turns_before,
        {{ mode.base }}__now as w_now,
        {{ mode.base }}__before as w_before,
        {{ mode.name }}__now as y_now,
        {{ mode.name }}__before as y_before,
        {{ mode.base }}__now_now as ww_now,
        {{ mode.base }}__now_before as ww_cross,
        {{ mode.base }}__before_before as ww_before,
        {{ mode.name }}__now_now as yy_now,
        {{ mode.name }}__now_before as yy_cross,
        {{ mode.name }}__before_before as yy_before,
        {{ mode.name }}__now_base_now as yw_now,
        {{ mode.name }}__now_base_before + {{ mode.name }}__before_base_now as yw_cross,
        {{ mode.name }}__before_base_before as yw_before
    from changes
    {%- endfor %}
),

pooled as {{ evalhouse.materialized() }} (
    select
        *,
        y_before / nullif(w_before, 0) as previous_rate,
        (y_now + y_before) / nullif(w_now + w_before, 0) as pooled_rate,
        case
            when turns_now = 0 then 'no_turns'
            when turns_before = 0 then 'no_turns_in_the_days_before'
            when failing_units < {{ fewest_failing_units }} then 'fewer_than_{{ fewest_failing_units }}_failing_units'
            when units_now < 2 then 'fewer_than_two_units'
        end as refused_because
    from by_mode
),

measured as {{ evalhouse.materialized() }} (
    select
        *,
        y_now / w_now - previous_rate as change,
        units / (units - 1) * (
            (yy_now - 2 * pooled_rate * yw_now + pooled_rate * pooled_rate * ww_now) / (w_now * w_now)
            - 2 * (yy_cross - pooled_rate * yw_cross + pooled_rate * pooled_rate * ww_cross) / (w_now * w_before)
            + (yy_before - 2 * pooled_rate * yw_before + pooled_rate * pooled_rate * ww_before) / (w_before * w_before)
        ) as variance_of_units,
        pooled_rate * (1 - pooled_rate) * (1 / turns_now + 1 / turns_before) as variance_of_turns
    from pooled
    where refused_because is null
),

standardised as {{ evalhouse.materialized() }} (
    select
        *,
        units_now - 1 as degrees_of_freedom,
        -- Where all turns fail, on all days, there is no error and no change.
        case
            when pooled_rate >= 1 then cast(0 as {{ double }})
            else change / sqrt(
                case when variance_of_units > variance_of_turns then variance_of_units else variance_of_turns end
            )
        end as t_statistic
    from measured
),

tested as {{ evalhouse.materialized() }} (
    select
        {{ slice | join(',\n        ') }},
        failure_mode,
        change,
        {{ evalhouse.student_t_two_sided_p('t_statistic', 'degrees_of_freedom') }} as p_value
    from standardised
),

-- Benjamini and Hochberg over the modes of a day, version and dimension.
ordered as (
    select
        *,
        row_number() over (
            partition by failure_date, model_version, dimension_name
            order by p_value nulls last, failure_mode, dimension_value
        ) as place,
        count(*) over (partition by failure_date, model_version, dimension_name) as tests
    from tested
),

adjusted as (
    select
        *,
        min(p_value * tests / place) over (
            partition by failure_date, model_version, dimension_name
            order by place desc
            rows between unbounded preceding and current row
        ) as least_adjusted
    from ordered
)

select
    {{ evalhouse.qualified('pooled', slice | join(', ')) }},
    pooled.failure_mode,
    cast(pooled.turns_before as {{ dbt.type_bigint() }}) as previous_turns,
    pooled.previous_rate,
    adjusted.change,
    adjusted.p_value,
    case when adjusted.least_adjusted > 1 then cast(1 as {{ double }}) else adjusted.least_adjusted end
        as p_value_adjusted,
    case
        when adjusted.p_value is null then 'unknown'
        when adjusted.least_adjusted >= {{ evalhouse.settings().analysis.alpha }} then 'steady'
        when adjusted.change > 0 then 'rising'
        else 'falling'
    end as trend,
    pooled.refused_because
from pooled
left join adjusted
    on {{ evalhouse.joined('pooled', 'adjusted', (slice + ['failure_mode']) | join(', ')) }}
