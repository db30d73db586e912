{#- The units that have entered, as they were then, and what each of them did before its first exposure, the covariates
    of its metrics. Kept and replaced by the day of the exposure, as int_unit_days is by day. -#}
{{ config(
    materialized='incremental',
    on_schema_change='sync_all_columns',
    sql_header=evalhouse.one_writer('int_unit_baselines'),
    **evalhouse.incremental_by(['experiment_id', 'entry_date'])
) }}
{%- set plan = evalhouse.metric_plan() -%}
{%- set settings = evalhouse.settings() -%}
{%- set measures = evalhouse.measures_of(plan, 'before') -%}
{%- set sources = (['exposures'] + plan.measures | map(attribute='fact') | list) | unique | list -%}
{%- set double = evalhouse.type_double() -%}
{%- set totals = plan.totals | selectattr('period', 'equalto', 'before') | list -%}
{%- set history_seconds = (([0] + totals | map(attribute='days') | list) | max * 86400) | round | int -%}
{%- set earliest_second = ([0] + totals | map(attribute='delay') | list) | min - history_seconds -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set attributes = ['first_exposed_at', 'variation_id', 'phase_number', 'cluster_id']
    + dimensions | map(attribute='name') | list -%}

with exposed_units as (
    -- Excluded ones too: what excludes them may change later.
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
),

{{ evalhouse.rebuilt_experiments(evalhouse.unit_definition(), sources, 'entry_date', 'unit_id') }}

marked_days as (
    {{ evalhouse.marked_days('entry_date') | indent(4) }}
),

{%- if is_incremental() %}

-- A unit enters once: one that stands on a day that is not replaced stays there.
entered_before as (
    select
        stored_units.experiment_id,
        stored_units.unit_id
    from {{ this }} as stored_units
    inner join experiments
        on stored_units.experiment_id = experiments.experiment_id
        and stored_units.entry_date < experiments.rebuilt_from
    where stored_units.unit_id <> ''
),
{%- endif %}

units as (
    select
        exposed_units.experiment_id,
        exposed_units.unit_id,
        {%- for attribute in attributes %}
        exposed_units.{{ attribute }},
        {%- endfor %}
        {{ evalhouse.shifted('exposed_units.first_exposed_at', earliest_second) }} as read_from,
        experiments.horizon_at
    from exposed_units
    inner join experiments on exposed_units.experiment_id = experiments.experiment_id
    {%- if is_incremental() %}
    left join entered_before
        on exposed_units.experiment_id = entered_before.experiment_id
        and exposed_units.unit_id = entered_before.unit_id
    {%- endif %}
    where
        cast(exposed_units.first_exposed_at as date) >= experiments.rebuilt_from
        {%- if is_incremental() %}
        and entered_before.unit_id is null
        {%- endif %}
),

{%- if not totals %}

baselines as (
    select
        experiment_id,
        unit_id,
        {{ attributes | join(',\n        ') }}
    from units
)
{%- else %}

{%- for fact in measures | map(attribute='fact') | unique %}

{{ fact }}_measures as (
    {{ evalhouse.fact_measures(fact, measures | selectattr('fact', 'equalto', fact) | list) | indent(4) }}
),
{%- endfor %}

all_events as (
    {{ evalhouse.stacked_measures(measures) | indent(4) }}
),

events as (
    select * from all_events
    {%- if not is_incremental() %}
    -- Few units enter on a few days: with this condition an engine would hash all events rather than these units.
    where fact_time >= (select min(read_from) from units)
    {%- endif %}
),

baselines as (
    select
        units.experiment_id,
        units.unit_id,
        {{ evalhouse.qualified('units', attributes | join(', ')) }}
        {%- for total in totals %},
        cast({{ evalhouse.unit_total(total, 'units', 'events') }} as {{ double }}) as {{ total.name }}
        {%- endfor %}
    from units
    left join events
        on units.unit_id = events.fact_unit_id
        and events.fact_time >= units.read_from
        and events.fact_time < units.first_exposed_at
    group by
        units.experiment_id,
        units.unit_id,
        {{ evalhouse.qualified('units', attributes | join(', ')) }}
)
{%- endif %}

select
    baselines.experiment_id,
    baselines.unit_id,
    cast(baselines.first_exposed_at as date) as entry_date,
    {%- for attribute in attributes %}
    baselines.{{ attribute }},
    {%- endfor %}
    cast(null as {{ dbt.type_string() }}) as definition_hash,
    cast(null as {{ dbt.type_string() }}) as day_state
    {%- for total in totals %},
    baselines.{{ total.name }}
    {%- endfor %}
from baselines

union all

select
    experiment_id,
    '' as unit_id,
    entry_date,
    cast(null as {{ dbt.type_timestamp() }}) as first_exposed_at,
    cast(null as {{ dbt.type_string() }}) as variation_id,
    cast(null as {{ dbt.type_bigint() }}) as phase_number,
    cast(null as {{ dbt.type_string() }}) as cluster_id,
    {%- for dimension in dimensions %}
    cast(null as {{ dbt.type_string() }}) as {{ dimension.name }},
    {%- endfor %}
    definition_hash,
    day_state
    {%- for total in totals %},
    cast(null as {{ double }}) as {{ total.name }}
    {%- endfor %}
from marked_days
