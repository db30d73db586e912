{#-
    Where the values of each arm are measured from, of the metrics whose sums are kept by day: one row per arm, one
    column per metric and part. It comes from the units of the arm's first hours, a thousand at least: any place near
    their mean serves, and nobody has to read all units for it. For the same reason it is kept once these hours lie
    further back than a run reaches, until a metric is defined otherwise; but not beside means that stand for missing
    covariates: those enter results.
-#}
{{ config(
    materialized='incremental',
    on_schema_change='sync_all_columns',
    sql_header=evalhouse.one_writer('int_arm_centres'),
    **evalhouse.incremental_by(['experiment_id'])
) }}
{%- set plan = evalhouse.metric_plan() -%}
{%- set settings = evalhouse.settings() -%}
{%- set metrics = evalhouse.stepwise_metrics() | rejectattr('type', 'equalto', 'funnel') | list -%}
{%- set double = evalhouse.type_double() -%}
{%- set constants = evalhouse.stepwise_constants() -%}
{%- set means = constants | selectattr(2, 'equalto', 'mean') | list -%}
{#- A table of an earlier version does not say what it was made for. -#}
{%- set keeps_centres = is_incremental() and not means and 'is_settled' in (
    adapter.get_columns_in_relation(this) | map(attribute='name') | map('lower') | list
) -%}
{%- set definition_hash = local_md5(tojson(
    [metrics, plan.measures, plan.totals, settings.facts, settings.raw_schema, settings.source_tables], sort_keys=true
)) %}

with all_exposed_units as (
    -- Those that left, too: an arm may have lost everybody, and had values before.
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
    where excluded_by is null or excluded_by = 'several_variations'
),

all_arms as (
    select
        experiment_id,
        variation_id
    from {{ ref('evalhouse', 'int_experiment_variations') }}
    where units_first_seen > 0
),

{%- if keeps_centres %}

kept_arms as (
    select
        experiment_id,
        variation_id
    from {{ this }}
    where
        definition_hash = '{{ definition_hash }}'
        and is_settled
),

experiments as {{ evalhouse.materialized() }} (
    select distinct all_arms.experiment_id
    from all_arms
    left join kept_arms
        on all_arms.experiment_id = kept_arms.experiment_id
        and all_arms.variation_id = kept_arms.variation_id
    where kept_arms.experiment_id is null
),

arms as (
    select * from all_arms
    where experiment_id in (select experiment_id from experiments)
),

exposed_units as (
    select * from all_exposed_units
    where experiment_id in (select experiment_id from experiments)
),
{%- else %}

arms as (
    select * from all_arms
),

exposed_units as (
    select * from all_exposed_units
),
{%- endif %}

all_experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

{%- for fact in plan.measures | map(attribute='fact') | unique %}

{{ fact }}_measures as (
    {{ evalhouse.fact_measures(fact, plan.measures | selectattr('fact', 'equalto', fact) | list) | indent(4) }}
),
{%- endfor %}

{%- if plan.measures %}

events as (
    {{ evalhouse.stacked_measures(plan.measures) | indent(4) }}
),
{%- endif %}

entries as (
    select
        experiment_id,
        variation_id,
        {{ dbt.date_trunc('hour', 'first_exposed_at') }} as entry_hour,
        count(*) as units
    from exposed_units
    group by experiment_id, variation_id, {{ dbt.date_trunc('hour', 'first_exposed_at') }}
),

entries_before as (
    select
        *,
        sum(units) over (
            partition by experiment_id, variation_id order by entry_hour
            rows between unbounded preceding and current row
        ) - units as units_before
    from entries
),

first_hours as {{ evalhouse.materialized() }} (
    select
        experiment_id,
        variation_id,
        {{ evalhouse.time_added('hour', 1, 'max(entry_hour)') }} as ends_at
    from entries_before
    where units_before < 1000
    group by experiment_id, variation_id
),

-- Not as a join, of which Postgres would expect a single row and then loop over all tables.
first_units as (
    select * from exposed_units
    where first_exposed_at < (
        select max(first_hours.ends_at)
        from first_hours
        where
            first_hours.experiment_id = exposed_units.experiment_id
            and first_hours.variation_id = exposed_units.variation_id
    )
),

units as {{ evalhouse.materialized() }} (
    select
        first_units.experiment_id,
        first_units.unit_id,
        first_units.variation_id,
        first_units.first_exposed_at,
        all_experiments.horizon_at
    from first_units
    inner join all_experiments on first_units.experiment_id = all_experiments.experiment_id
),

{%- if plan.totals %}

-- From the events of these few: that is less than the days of all units.
totals as (
    select
        units.experiment_id,
        units.unit_id
        {%- for total in plan.totals %},
        cast({{ evalhouse.unit_total(total, 'units', 'events') }} as {{ double }}) as {{ total.name }}
        {%- endfor %}
    from units
    inner join events on units.unit_id = events.fact_unit_id
    group by units.experiment_id, units.unit_id
),
{%- endif %}

unit_totals as (
    select
        units.*
        {%- for total in plan.totals %},
        {{ 'coalesce(totals.' ~ total.name ~ ', 0) as ' ~ total.name
            if total.aggregate == 'days' and total.period == 'after' else 'totals.' ~ total.name }}
        {%- endfor %}
    from units
    {%- if plan.totals %}
    left join totals
        on units.experiment_id = totals.experiment_id
        and units.unit_id = totals.unit_id
    {%- endif %}
),

first_values as (
    select
        unit_totals.experiment_id,
        unit_totals.variation_id
        {%- for metric in metrics %},
        {{ evalhouse.unit_parts(metric, 'true', none) }}
        {%- endfor %}
    from unit_totals
),

centres as (
    select
        experiment_id,
        variation_id
        {%- for name, part, kind in constants if kind == 'centre' %}
        {%- set metric = metrics | selectattr('name', 'equalto', name) | first %},
        {{ evalhouse.centre_of(metric, name ~ '__' ~ part) | indent(8) }} as {{ name }}__{{ part }}_centre
        {%- endfor %}
    from first_values
    group by experiment_id, variation_id
)

{%- if means -%}
,

-- What stands for a missing covariate is the same in all arms.
means as (
    select
        experiment_id
        {%- for name, part, kind in means %},
        avg({{ name }}__{{ part }}) as {{ name }}__{{ part }}_mean
        {%- endfor %}
    from first_values
    group by experiment_id
)
{%- endif %}

select
    arms.experiment_id,
    arms.variation_id,
    '{{ definition_hash }}' as definition_hash,
    coalesce(
        first_hours.ends_at
        < {{ evalhouse.time_added('day', -1 - settings.analysis.lookback_days, 'all_experiments.as_of_at') }}, false
    ) as is_settled
    {%- for name, part, kind in constants %},
    {{ 'centres' if kind == 'centre' else 'means' }}.{{ name }}__{{ part }}_{{ kind }}
    {%- endfor %}
from arms
left join all_experiments on arms.experiment_id = all_experiments.experiment_id
left join first_hours
    on arms.experiment_id = first_hours.experiment_id
    and arms.variation_id = first_hours.variation_id
left join centres
    on arms.experiment_id = centres.experiment_id
    and arms.variation_id = centres.variation_id
{%- if means %}
left join means on arms.experiment_id = means.experiment_id
{%- endif %}
