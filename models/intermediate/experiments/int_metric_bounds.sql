{#-
    Constants of each experiment's metrics, one row per experiment, one column per constant. Of metrics whose sums are
    kept by day they come from the units of the first hours, a thousand at least: these only choose where values are
    measured from, and nobody has to read all units for that.
-#}
{%- set plan = evalhouse.metric_plan() -%}
{%- set stepwise = evalhouse.stepwise_metrics() | rejectattr('type', 'equalto', 'funnel') | list -%}
{%- set restated = plan.metrics | selectattr('moves_daily') | list -%}

with exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
    where excluded_by is null
),

all_unit_days as (
    select * from {{ ref('evalhouse', 'int_unit_days') }}
),

baselines as (
    select * from {{ ref('evalhouse', 'int_unit_baselines') }}
),

{%- if restated %}

unit_metrics as (
    select * from {{ ref('evalhouse', 'int_unit_metrics') }}
),

restated_bounds as (
    select
        experiment_id
        {{- evalhouse.metric_bounds(restated) | indent(4) }}
    from unit_metrics
    group by experiment_id
),
{%- endif %}

entries as (
    select
        experiment_id,
        {{ dbt.date_trunc('hour', 'first_exposed_at') }} as entry_hour,
        count(*) as units
    from exposed_units
    group by experiment_id, {{ dbt.date_trunc('hour', 'first_exposed_at') }}
),

entries_before as (
    select
        *,
        sum(units) over (
            partition by experiment_id order by entry_hour rows between unbounded preceding and current row
        ) - units as units_before
    from entries
),

first_hours as (
    select
        experiment_id,
        {{ evalhouse.time_added('hour', 1, 'max(entry_hour)') }} as ends_at
    from entries_before
    where units_before < 1000
    group by experiment_id
),

units as (
    select exposed_units.*
    from exposed_units
    inner join first_hours
        on exposed_units.experiment_id = first_hours.experiment_id
        and exposed_units.first_exposed_at < first_hours.ends_at
),

unit_days as (
    select all_unit_days.*
    from all_unit_days
    inner join units
        on all_unit_days.experiment_id = units.experiment_id
        and all_unit_days.unit_id = units.unit_id
),

{{ evalhouse.unit_totals_of_days() }},

first_values as (
    select
        unit_totals.experiment_id
        {%- for metric in stepwise %},
        {{ evalhouse.unit_parts(metric, 'true', none) }}
        {%- endfor %}
    from unit_totals
),

first_bounds as (
    select
        experiment_id
        {{- evalhouse.metric_bounds(stepwise) | indent(4) }}
    from first_values
    group by experiment_id
)

select
    first_bounds.*
    {%- for name in evalhouse.bound_names(restated) %},
    restated_bounds.{{ name }}
    {%- endfor %}
from first_bounds
{%- if restated %}
left join restated_bounds on first_bounds.experiment_id = restated_bounds.experiment_id
{%- endif %}
