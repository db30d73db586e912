{#- What the sums over units gain and lose on each day: a unit's values come (sign 1) on the day from which they hold
    and go (sign -1) on the day on which others take their place. -#}
{{ config(materialized='ephemeral') }}
{%- set metrics = evalhouse.stepwise_metrics() -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}

with unit_steps as (
    select * from {{ ref('evalhouse', 'int_unit_steps') }}
),

bounds as (
    select * from {{ ref('evalhouse', 'int_metric_bounds') }}
),

step_values as (
    select
        unit_metrics.experiment_id,
        unit_metrics.unit_id,
        unit_metrics.variation_id,
        unit_metrics.phase_number,
        unit_metrics.cluster_id,
        {%- for dimension in dimensions %}
        unit_metrics.{{ dimension.name }},
        {%- endfor %}
        unit_metrics.valid_from,
        unit_metrics.valid_until
        {%- for metric in metrics %},
        {{ evalhouse.centred_parts(metric) }}
        {%- endfor %}
    from unit_steps as unit_metrics
    left join bounds on unit_metrics.experiment_id = bounds.experiment_id
)

select
    step_values.*,
    step_values.valid_from as change_date,
    cast(1 as {{ evalhouse.type_double() }}) as sign
from step_values

union all

select
    step_values.*,
    step_values.valid_until as change_date,
    cast(-1 as {{ evalhouse.type_double() }}) as sign
from step_values
where step_values.valid_until is not null
