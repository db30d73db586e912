{#- Rows of facts at event grain, only for quantiles of events: no per-unit total carries those. A row counts from its
    day on, or from the day on which its unit's window is over, until the unit sees a second variation. -#}
{%- set metrics = evalhouse.quantile_metrics('events') -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}

with units as (
    select * from {{ ref('evalhouse', 'int_entered_units') }}
),

watermarks as (
    {{ evalhouse.fact_watermarks(metrics | map(attribute='fact') | unique | list) | indent(4) }}
)

{%- for fact in metrics | map(attribute='fact') | unique %}
{%- set measures = [] -%}
{%- for metric in metrics if metric.fact == fact -%}
    {%- do measures.append(evalhouse.event_measure(metric)) -%}
{%- endfor %},

{{ fact }}_events as {{ evalhouse.materialized() }} (
    {{ evalhouse.fact_measures(fact, measures) | indent(4) }}
)
{%- endfor %}

{% if metrics -%}
{%- for metric in metrics -%}
select
    '{{ metric.name }}' as metric_name,
    units.experiment_id,
    units.unit_id,
    units.variation_id,
    units.cluster_id,
    {%- for dimension in dimensions %}
    units.{{ dimension.name }},
    {%- endfor %}
    {%- set seconds = metric.start_seconds + (metric.span_seconds or 0) %}
    {%- set ripe_on = evalhouse.closing_date(evalhouse.shifted('units.first_exposed_at', seconds)) %}
    case when cast(events.fact_time as date) < {{ ripe_on }} then {{ ripe_on }} else cast(events.fact_time as date) end
        as counts_from,
    cast(units.second_variation_at as date) as counts_until,
    events.{{ metric.name }}__v as metric_value
from units
inner join {{ metric.fact }}_events as events on units.unit_id = events.fact_unit_id
cross join watermarks
where
    events.{{ metric.name }}__v is not null
    and {{ evalhouse.period_condition(
        {'period': 'after', 'delay': metric.start_seconds, 'window': metric.span_seconds},
        'events.fact_time', 'units.first_exposed_at', 'units.horizon_at'
    ) }}
    and {{ evalhouse.is_mature(metric, 'units') }}
{{ 'union all' if not loop.last }}
{% endfor -%}
{%- else -%}
select
    cast(null as {{ dbt.type_string() }}) as metric_name,
    experiment_id,
    unit_id,
    variation_id,
    cluster_id,
    {%- for dimension in dimensions %}
    {{ dimension.name }},
    {%- endfor %}
    cast(first_exposed_at as date) as counts_from,
    cast(second_variation_at as date) as counts_until,
    cast(null as {{ evalhouse.type_double() }}) as metric_value
from units
where 1 = 0
{%- endif %}
