{#- What each unit did on each day from its first exposure on: all days of an experiment follow from these rows. -#}
{{ config(
    materialized='incremental',
    on_schema_change='sync_all_columns',
    sql_header=evalhouse.one_writer('int_unit_days'),
    **evalhouse.incremental_by(['experiment_id', 'activity_date'])
) }}
{%- set plan = evalhouse.metric_plan() -%}
{%- set settings = evalhouse.settings() -%}
{%- set measures = evalhouse.measures_of(plan, 'after') -%}
{%- set measured_facts = measures | map(attribute='fact') | unique | list -%}
{%- set sources = (['exposures'] + plan.measures | map(attribute='fact') | list) | unique | list -%}
{%- set double = evalhouse.type_double() -%}
{%- set totals = plan.totals | selectattr('period', 'equalto', 'after') | list -%}
{%- set distinct_totals = totals | selectattr('aggregate', 'in', ['days', 'count_distinct']) | list -%}
{%- set earliest_second = ([0] + totals | map(attribute='delay') | list) | min -%}
{%- set longest = [0] -%}
{%- for total in totals if total.window is not none -%}
    {%- do longest.append(total.delay + total.window) -%}
{%- endfor -%}
{%- set longest_seconds = longest | max -%}

with entered_units as (
    -- Excluded ones too: what excludes them may change later.
    select * from {{ ref('evalhouse', 'int_unit_baselines') }}
    where unit_id <> ''
),

{{ evalhouse.rebuilt_experiments(evalhouse.unit_definition(), sources, 'activity_date', 'unit_id') }}

marked_days as (
    {{ evalhouse.marked_days('activity_date') | indent(4) }}
),

units as (
    select
        entered_units.experiment_id,
        entered_units.unit_id,
        entered_units.first_exposed_at,
        entered_units.entry_date,
        experiments.horizon_at,
        experiments.rebuilt_from,
        -- Where nothing older can change a day from there on, older events need not be read.
        case
            when entered_units.entry_date >= experiments.rebuilt_from
                then {{ evalhouse.shifted('entered_units.first_exposed_at', earliest_second) }}
            else cast(experiments.rebuilt_from as {{ dbt.type_timestamp() }})
        end as read_from
    from entered_units
    inner join experiments on entered_units.experiment_id = experiments.experiment_id
),

{%- if not totals %}

days as (
    select
        experiment_id,
        unit_id,
        entry_date as activity_date
    from units
    where 1 = 0
)
{%- else %}

{%- for fact in measured_facts %}

{{ fact }}_measures as (
    {{ evalhouse.fact_measures(fact, measures | selectattr('fact', 'equalto', fact) | list) | indent(4) }}
),
{%- endfor %}

all_events as (
    {{ evalhouse.stacked_measures(measures) | indent(4) }}
),

{%- if distinct_totals %}

events as (
    select * from all_events
),
{%- else %}

events as (
    select * from all_events
    where fact_time >= (select min(read_from) from units)
),
{%- endif %}

unit_events as (
    select
        units.*,
        {%- if earliest_second < 0 %}
        case
            when events.fact_time < units.first_exposed_at then units.entry_date
            else cast(events.fact_time as date)
        end as activity_date,
        {%- else %}
        cast(events.fact_time as date) as activity_date,
        {%- endif %}
        events.fact_time
        {%- for measure in measures %},
        events.{{ measure.name }}
        {%- endfor %}
    from units
    inner join events
        on units.unit_id = events.fact_unit_id
        and events.fact_time >= {{ evalhouse.shifted('units.first_exposed_at', earliest_second) }}
        and events.fact_time <= {{ evalhouse.shifted('units.horizon_at', longest_seconds) }}
    where
        events.fact_time >= units.read_from
        {%- for measure in distinct_totals | map(attribute='measure') | unique %}
        -- The first time of a value can only be told from all times.
        or events.{{ measure }} is not null
        {%- endfor %}
),

days as (
    select
        units.experiment_id,
        units.unit_id,
        units.activity_date
        {%- for total in totals if total not in distinct_totals %},
        cast({{ evalhouse.unit_total(total, 'units', 'units') }} as {{ double }}) as {{ total.name }}
        {%- endfor %}
    from unit_events as units
    where units.activity_date >= units.rebuilt_from
    group by units.experiment_id, units.unit_id, units.activity_date
)

{%- for total in distinct_totals -%}
,

{{ total.name }}_values as (
    select
        units.experiment_id,
        units.unit_id,
        {{ evalhouse.distinct_value(total, 'units', 'units') }} as seen_value,
        min(units.activity_date) as activity_date
    from unit_events as units
    where
        units.{{ total.measure }} is not null
        and {{ evalhouse.period_condition(total, 'units.fact_time', 'units.first_exposed_at', 'units.horizon_at') }}
    group by units.experiment_id, units.unit_id, {{ evalhouse.distinct_value(total, 'units', 'units') }}
),

{{ total.name }}_days as (
    select
        experiment_id,
        unit_id,
        activity_date,
        cast(count(*) as {{ double }}) as {{ total.name }}
    from {{ total.name }}_values
    group by experiment_id, unit_id, activity_date
)
{%- endfor %}
{%- endif %}

select
    days.experiment_id,
    days.unit_id,
    days.activity_date,
    cast(null as {{ dbt.type_string() }}) as definition_hash,
    cast(null as {{ dbt.type_string() }}) as day_state
    {%- for total in totals %},
    {{ (total.name ~ '_days' if total in distinct_totals else 'days') }}.{{ total.name }}
    {%- endfor %}
from days
{%- for total in distinct_totals %}
left join {{ total.name }}_days
    on {{ evalhouse.joined('days', total.name ~ '_days', 'experiment_id, unit_id, activity_date') }}
{%- endfor %}

union all

select
    experiment_id,
    '' as unit_id,
    activity_date,
    definition_hash,
    day_state
    {%- for total in totals %},
    cast(null as {{ double }}) as {{ total.name }}
    {%- endfor %}
from marked_days
