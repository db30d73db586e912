{#-
    What each unit did on each day: one row for the day of its first exposure, which also carries its totals before
    exposure, and one for every later day with an event that counts. All days of an experiment follow from these rows.

    An incremental run replaces the days from the lookback on, counted from where each source stood when it was last
    read: one that stood still and comes back brings its days with it. An experiment is replaced as a whole when a
    metric, a source, the lookback or what the registry says about who was exposed has changed. A row without a unit
    stands for a stored day that has to go even if nothing takes its place.
-#}
{{ config(
    materialized='incremental',
    on_schema_change='sync_all_columns',
    **evalhouse.incremental_by(['experiment_id', 'activity_date'])
) }}
{%- set plan = evalhouse.metric_plan() -%}
{%- set settings = evalhouse.settings() -%}
{%- set lookback_days = settings.analysis.lookback_days -%}
{%- set measured_facts = plan.measures | map(attribute='fact') | unique | list -%}
{%- set sources = (['exposures'] + measured_facts) | unique | list -%}
{%- set stored_columns = adapter.get_columns_in_relation(this) | map(attribute='name') | map('lower') | list
    if is_incremental() else [] -%}
{%- set distinct_totals = [] -%}
{%- set simple_totals = [] -%}
{%- for total in plan.totals -%}
    {%- set is_distinct = total.period == 'after' and total.aggregate in ['days', 'count_distinct'] -%}
    {%- do (distinct_totals if is_distinct else simple_totals).append(total) -%}
{%- endfor -%}
{%- set history_days = plan.totals | selectattr('period', 'equalto', 'before') | map(attribute='days') | list -%}
{%- set history_seconds = ((history_days + [0]) | max * 86400) | round | int -%}
{%- set longest = [0] -%}
{%- for total in plan.totals if total.window is not none -%}
    {%- do longest.append(total.delay + total.window) -%}
{%- endfor -%}
{%- set longest_seconds = longest | max -%}
{%- set definition = local_md5(tojson([
    plan.measures, plan.totals, settings.facts, settings.raw_schema, settings.source_tables, lookback_days
], sort_keys=true)) -%}
{%- set forever_ago = "cast('0001-01-01' as date)" -%}

with exposed_units as (
    -- Excluded ones too: what excludes them may change later.
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
),

all_experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

variations as (
    select * from {{ ref('evalhouse', 'int_experiment_variations') }}
    where is_registered
),

watermarks as (
    select * from {{ ref('evalhouse', 'int_watermarks') }}
),

sources_read as (
    select
        {%- for source in sources %}
        max(case when source_name = '{{ source }}' then newest_at end) as {{ source }}_read_until
        {{- ',' if not loop.last }}
        {%- endfor %}
    from watermarks
),

registered_variations as (
    select
        experiment_id,
        {{ evalhouse.sorted_listagg('variation_id', "','") }} as variation_ids
    from variations
    group by experiment_id
),

defined as (
    select
        all_experiments.experiment_id,
        all_experiments.horizon_at,
        all_experiments.as_of_at,
        {{ dbt.hash(
            "'" ~ definition ~ " ' || all_experiments.stage"
            ~ " || ' ' || coalesce(cast(all_experiments.started_at as " ~ dbt.type_string() ~ "), '')"
            ~ " || ' ' || coalesce(cast(all_experiments.ended_at as " ~ dbt.type_string() ~ "), '')"
            ~ " || ' ' || coalesce(registered_variations.variation_ids, '')"
        ) }} as definition_hash
    from all_experiments
    left join registered_variations on all_experiments.experiment_id = registered_variations.experiment_id
),

{%- if is_incremental() %}

stored as (
    select
        experiment_id,
        min(definition_hash) as first_hash,
        max(definition_hash) as last_hash
    from {{ this }}
    group by experiment_id
),

newest_stored as (
    -- Rows without a unit may be of days that the data have not reached again.
    select
        max(activity_date) as activity_date
        {%- for source in sources %},
        {%- set column = source ~ '_read_until' %}
        {{ 'max(' ~ column ~ ')' if column | lower in stored_columns
            else 'cast(null as ' ~ dbt.type_timestamp() ~ ')' }} as {{ column }}
        {%- endfor %}
    from {{ this }}
    where unit_id <> ''
),

-- The day from which there is something new: of a source without new rows there is none.
news as (
    select
        newest_stored.activity_date
        {%- for source in sources %},
        case
            when sources_read.{{ source }}_read_until is null
                or sources_read.{{ source }}_read_until <= newest_stored.{{ source }}_read_until
                then newest_stored.activity_date
            else coalesce(cast(newest_stored.{{ source }}_read_until as date), {{ forever_ago }})
        end as {{ source }}_new_from
        {%- endfor %}
    from newest_stored
    cross join sources_read
),

oldest_news as (
    select
        least(
            activity_date
            {%- for source in sources %},
            {{ source }}_new_from
            {%- endfor %}
        ) as new_from
    from news
),

experiments as (
    select
        defined.*,
        case
            when stored.first_hash <> defined.definition_hash or stored.last_hash <> defined.definition_hash
                or stored.experiment_id is null or oldest_news.new_from is null
                or oldest_news.new_from = {{ forever_ago }}
                then {{ forever_ago }}
            when oldest_news.new_from > cast(defined.as_of_at as date)
                then cast({{ dbt.dateadd('day', -lookback_days, 'cast(defined.as_of_at as date)') }} as date)
            else cast({{ dbt.dateadd('day', -lookback_days, 'oldest_news.new_from') }} as date)
        end as rebuilt_from
    from defined
    cross join oldest_news
    left join stored on defined.experiment_id = stored.experiment_id
),
{%- else %}

experiments as (
    select
        *,
        {{ forever_ago }} as rebuilt_from
    from defined
),
{%- endif %}

units as (
    select
        exposed_units.experiment_id,
        exposed_units.unit_id,
        exposed_units.first_exposed_at,
        cast(exposed_units.first_exposed_at as date) as entry_date,
        experiments.horizon_at,
        experiments.definition_hash,
        experiments.rebuilt_from,
        -- Where nothing older can change a day from there on, older events need not be read.
        case
            when cast(exposed_units.first_exposed_at as date) >= experiments.rebuilt_from
                then {{ evalhouse.shifted('exposed_units.first_exposed_at', -history_seconds) }}
            else cast(experiments.rebuilt_from as {{ dbt.type_timestamp() }})
        end as read_from
    from exposed_units
    inner join experiments on exposed_units.experiment_id = experiments.experiment_id
),

{%- for fact in measured_facts %}

{{ fact }}_measures as (
    {{ evalhouse.fact_measures(fact, plan.measures | selectattr('fact', 'equalto', fact) | list) | indent(4) }}
),
{%- endfor %}

{%- if plan.totals %}

all_events as (
    {{ evalhouse.stacked_measures(plan.measures) | indent(4) }}
),

{%- if distinct_totals %}

events as (
    select * from all_events
),
{%- else %}

earliest_read as (
    select min(read_from) as read_from
    from units
),

events as (
    select all_events.*
    from all_events
    cross join earliest_read
    where all_events.fact_time >= earliest_read.read_from
),
{%- endif %}

-- What happened before exposure belongs to the day of the exposure, and that day has a row even if nothing happened.
unit_events as (
    select
        units.*,
        case
            when events.fact_time < units.first_exposed_at then units.entry_date
            else cast(events.fact_time as date)
        end as activity_date,
        events.fact_time
        {%- for measure in plan.measures %},
        events.{{ measure.name }}
        {%- endfor %}
    from units
    inner join events on units.unit_id = events.fact_unit_id
    where
        events.fact_time >= {{ evalhouse.shifted('units.first_exposed_at', -history_seconds) }}
        and events.fact_time <= {{ evalhouse.shifted('units.horizon_at', longest_seconds) }}
        {%- if distinct_totals %}
        -- The first time of a value can only be told from all times.
        and (
            events.fact_time >= units.read_from
            {%- for measure in distinct_totals | map(attribute='measure') | unique %}
            or events.{{ measure }} is not null
            {%- endfor %}
        )
        {%- else %}
        and events.fact_time >= units.read_from
        {%- endif %}

    union all

    select
        units.*,
        units.entry_date as activity_date,
        cast(null as {{ dbt.type_timestamp() }}) as fact_time
        {%- for measure in plan.measures %},
        cast(null as {{ dbt.type_string() if measure.is_text else evalhouse.type_double() }}) as {{ measure.name }}
        {%- endfor %}
    from units
),

totals as (
    select
        units.experiment_id,
        units.unit_id,
        units.activity_date,
        min(units.definition_hash) as definition_hash
        {%- for total in simple_totals %},
        cast({{ evalhouse.unit_total(total, 'units', 'units') }} as {{ evalhouse.type_double() }}) as {{ total.name }}
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
        cast(count(*) as {{ evalhouse.type_double() }}) as {{ total.name }}
    from {{ total.name }}_values
    group by experiment_id, unit_id, activity_date
)
{%- endfor %}
{%- else %}

totals as (
    select
        experiment_id,
        unit_id,
        entry_date as activity_date,
        definition_hash
    from units
    where entry_date >= rebuilt_from
)
{%- endif %}

select
    totals.experiment_id,
    totals.unit_id,
    totals.activity_date,
    totals.definition_hash
    {%- for source in sources %},
    sources_read.{{ source }}_read_until
    {%- endfor %}
    {%- for total in plan.totals %},
    {{ (total.name ~ '_days' if total in distinct_totals else 'totals') }}.{{ total.name }}
    {%- endfor %}
from totals
cross join sources_read
{%- for total in distinct_totals %}
left join {{ total.name }}_days
    on {{ evalhouse.joined('totals', total.name ~ '_days', 'experiment_id, unit_id, activity_date') }}
{%- endfor %}
{%- if is_incremental() %}

union all

select distinct
    stored_days.experiment_id,
    '' as unit_id,
    stored_days.activity_date,
    coalesce(experiments.definition_hash, '') as definition_hash
    {%- for source in sources %},
    cast(null as {{ dbt.type_timestamp() }}) as {{ source }}_read_until
    {%- endfor %}
    {%- for total in plan.totals %},
    cast(null as {{ evalhouse.type_double() }}) as {{ total.name }}
    {%- endfor %}
from {{ this }} as stored_days
left join experiments on stored_days.experiment_id = experiments.experiment_id
where stored_days.activity_date >= experiments.rebuilt_from or experiments.experiment_id is null
{%- endif %}
