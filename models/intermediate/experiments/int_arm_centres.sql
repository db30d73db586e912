{#-
    Where the values of each arm are measured from, of the metrics whose sums are kept by day: one row per arm, one
    column per metric and part. It comes from the units of the arm's first hours, a thousand at least: any place near
    their mean serves, and nobody has to read all units for it.
-#}
{%- set metrics = evalhouse.stepwise_metrics() | rejectattr('type', 'equalto', 'funnel') | list -%}
{%- set means = evalhouse.stepwise_constants() | selectattr(2, 'equalto', 'mean') | list -%}

with exposed_units as (
    -- Those that left, too: an arm may have lost everybody, and had values before.
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
    where excluded_by is null or excluded_by = 'several_variations'
),

arms as (
    select distinct
        experiment_id,
        variation_id
    from exposed_units
),

all_unit_days as (
    select * from {{ ref('evalhouse', 'int_unit_days') }}
),

baselines as (
    select * from {{ ref('evalhouse', 'int_unit_baselines') }}
),

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
units as (
    select * from exposed_units
    where first_exposed_at < (
        select max(first_hours.ends_at)
        from first_hours
        where
            first_hours.experiment_id = exposed_units.experiment_id
            and first_hours.variation_id = exposed_units.variation_id
    )
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
        {%- for name, part, kind in evalhouse.stepwise_constants() if kind == 'centre' %}
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
    arms.variation_id
    {%- for name, part, kind in evalhouse.stepwise_constants() %},
    {{ 'centres' if kind == 'centre' else 'means' }}.{{ name }}__{{ part }}_{{ kind }}
    {%- endfor %}
from arms
left join centres
    on arms.experiment_id = centres.experiment_id
    and arms.variation_id = centres.variation_id
{%- if means %}
left join means on arms.experiment_id = means.experiment_id
{%- endif %}
