{#- Unit metrics as the estimates use them: capped, missing covariates filled, means measured from their centre. -#}
{{ config(materialized='ephemeral') }}
{%- set plan = evalhouse.metric_plan() -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}

with unit_metrics as (
    select * from {{ ref('evalhouse', 'int_unit_metrics') }}
),

bounds as (
    select * from {{ ref('evalhouse', 'int_metric_bounds') }}
)

select
    unit_metrics.experiment_id,
    unit_metrics.unit_id,
    unit_metrics.variation_id,
    unit_metrics.cluster_id,
    unit_metrics.phase_number
    {%- for dimension in dimensions %},
    unit_metrics.{{ dimension.name }}
    {%- endfor %}
    {%- for metric in plan.metrics %}
    {%- for part in evalhouse.metric_parts(metric) %},
    {{ evalhouse.unit_part(metric, part) }} as {{ metric.name }}__{{ part }}
    {%- endfor %}
    {%- if metric.type in ['mean', 'participation'] %},
    bounds.{{ metric.name }}__y_centre as {{ metric.name }}__centre
    {%- endif %}
    {%- endfor %}
from unit_metrics
left join bounds on unit_metrics.experiment_id = bounds.experiment_id
