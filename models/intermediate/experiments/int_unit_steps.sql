{#- The metrics that move every day, of each unit as a staircase: one row per unit and day on which one of their totals
    changed (first exposure, an event, a window that ended), valid until the next one. A unit counts until it sees a
    second variation. -#}
{%- set plan = evalhouse.metric_plan() -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set attributes = ['variation_id', 'cluster_id', 'phase_number', 'first_exposed_at', 'horizon_at']
    + dimensions | map(attribute='name') | list -%}
{%- set metrics = plan.metrics | selectattr('moves_daily') | list -%}
{%- set used_totals = [] -%}
{%- set ripening_seconds = [] -%}
{%- for metric in metrics -%}
    {%- do used_totals.extend(
        [metric.numerator, metric.denominator_total, metric.numerator_before, metric.denominator_before]
    ) -%}
    {%- do ripening_seconds.append(metric.start_seconds + (metric.span_seconds or 0)) -%}
{%- endfor -%}
{%- set totals = plan.totals | selectattr('name', 'in', used_totals) | list -%}
{%- set totals_after = totals | selectattr('period', 'equalto', 'after') | list -%}
{%- set totals_before = totals | selectattr('period', 'equalto', 'before') | list -%}

with unit_days as (
    select * from {{ ref('evalhouse', 'int_unit_days') }}
),

units as (
    select * from {{ ref('evalhouse', 'int_entered_units') }}
    {%- if not metrics %}
    where 1 = 0
    {%- endif %}
),

dates_of_change as (
    select
        experiment_id,
        unit_id,
        entry_date as valid_from
    from units

    union all

    select
        experiment_id,
        unit_id,
        activity_date as valid_from
    from unit_days
    {%- if totals_after %}
    where coalesce({{ totals_after | map(attribute='name') | join(', ') }}) is not null
    {%- endif %}
    {%- for seconds in ripening_seconds | unique if seconds > 0 %}

    union all

    select
        experiment_id,
        unit_id,
        {{ evalhouse.closing_date(evalhouse.shifted('first_exposed_at', seconds)) }} as valid_from
    from units
    where {{ evalhouse.shifted('first_exposed_at', seconds) }} <= as_of_at
    {%- endfor %}
),

step_dates as (
    select distinct
        experiment_id,
        unit_id,
        valid_from
    from dates_of_change
),

steps as (
    select
        units.experiment_id,
        units.unit_id,
        {%- for attribute in attributes %}
        units.{{ attribute }},
        {%- endfor %}
        cast(units.second_variation_at as date) as leaves_on,
        step_dates.valid_from,
        lead(step_dates.valid_from) over (
            partition by step_dates.experiment_id, step_dates.unit_id order by step_dates.valid_from
        ) as next_from
        {%- for total in totals_after %},
        {{ 'sum' if total.aggregate != 'max' else 'max' }}(unit_days.{{ total.name }}) over (
            partition by step_dates.experiment_id, step_dates.unit_id order by step_dates.valid_from
            rows between unbounded preceding and current row
        ) as {{ total.name }}
        {%- endfor %}
        {%- for total in totals_before %},
        units.{{ total.name }}
        {%- endfor %}
    from step_dates
    inner join units
        on step_dates.experiment_id = units.experiment_id
        and step_dates.unit_id = units.unit_id
    left join unit_days
        on step_dates.experiment_id = unit_days.experiment_id
        and step_dates.unit_id = unit_days.unit_id
        and step_dates.valid_from = unit_days.activity_date
),

unit_totals as (
    select
        *,
        {{ evalhouse.time_added('day', 1, 'cast(valid_from as ' ~ dbt.type_timestamp() ~ ')') }} as first_day_ends_at,
        case when leaves_on < next_from or next_from is null then leaves_on else next_from end as valid_until
    from steps
    where leaves_on is null or valid_from < leaves_on
)

select
    unit_totals.experiment_id,
    unit_totals.unit_id,
    {%- for attribute in attributes %}
    unit_totals.{{ attribute }},
    {%- endfor %}
    unit_totals.valid_from,
    unit_totals.valid_until
    {%- for metric in metrics %},
    {%- set seconds = metric.start_seconds + (metric.span_seconds or 0) %}
    {%- set mature = evalhouse.shifted('unit_totals.first_exposed_at', seconds) ~ ' <= unit_totals.first_day_ends_at' %}
    {{ evalhouse.unit_parts(metric, mature, none) }}
    {%- endfor %}
from unit_totals
