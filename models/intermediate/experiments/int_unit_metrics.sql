{#- One row per analysed unit, one column per metric part: every fact is scanned once for all of its metrics. -#}
{%- set plan = evalhouse.metric_plan() -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set attributes = ['variation_id', 'cluster_id', 'phase_number', 'first_exposed_at', 'horizon_at']
    + dimensions | map(attribute='name') | list -%}
{%- set measured_facts = plan.measures | map(attribute='fact') | unique | list -%}
{%- set funnels = plan.metrics | selectattr('type', 'equalto', 'funnel') | list -%}
{%- set history_days = plan.totals | selectattr('period', 'equalto', 'before') | map(attribute='days') | list -%}
{%- set longest_history = (history_days + [0]) | max -%}
{%- set earliest_delay = (plan.totals | map(attribute='delay') | list + [0]) | min -%}
{%- set earliest_second = (earliest_delay - longest_history * 86400) | round | int -%}

with exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
    where excluded_by is null
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

{%- if funnels %}

funnels as (
    select * from {{ ref('evalhouse', 'int_unit_funnels') }}
),
{%- endif %}

units as (
    select
        exposed_units.*,
        experiments.horizon_at
    from exposed_units
    inner join experiments on exposed_units.experiment_id = experiments.experiment_id
),

watermarks as (
    {{ evalhouse.fact_watermarks(plan.facts) | indent(4) }}
),

{%- for fact in measured_facts %}

{{ fact }}_measures as (
    {{ evalhouse.fact_measures(fact, plan.measures | selectattr('fact', 'equalto', fact) | list) | indent(4) }}
),
{%- endfor %}

{%- if plan.totals %}

-- Rows of all facts under one another, so that units meet their events in a single join.
events as (
    {{ evalhouse.stacked_measures(plan.measures) | indent(4) }}
),

unit_totals as (
    select
        units.experiment_id,
        units.unit_id
        {%- for attribute in attributes %},
        {{ dbt.any_value('units.' ~ attribute) }} as {{ attribute }}
        {%- endfor %}
        {%- for total in plan.totals %},
        {{ evalhouse.unit_total(total, 'units', 'events') }} as {{ total.name }}
        {%- endfor %}
    from units
    left join events
        on units.unit_id = events.fact_unit_id
        and events.fact_time >= {{ evalhouse.shifted('units.first_exposed_at', earliest_second) }}
    group by units.experiment_id, units.unit_id
),
{%- else %}

unit_totals as (
    select * from units
),
{%- endif %}

final as (
    select
        unit_totals.experiment_id,
        unit_totals.unit_id
        {%- for attribute in attributes %},
        unit_totals.{{ attribute }}
        {%- endfor %}
        {%- for metric in plan.metrics if evalhouse.metric_parts(metric) %},
        {{ evalhouse.unit_parts(metric, evalhouse.is_mature(metric, 'unit_totals'), 'unit_totals.horizon_at') }}
        {%- endfor %}
    from unit_totals
    cross join watermarks
    {%- if funnels %}
    left join funnels
        on unit_totals.experiment_id = funnels.experiment_id
        and unit_totals.unit_id = funnels.unit_id
    {%- endif %}
)

select * from final
