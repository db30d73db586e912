{#- Constants of each experiment's metrics, one row per experiment, one column per constant. -#}
{%- set plan = evalhouse.metric_plan() -%}

with unit_metrics as (
    select * from {{ ref('evalhouse', 'int_unit_metrics') }}
)

select
    experiment_id
    {{- evalhouse.metric_bounds(plan.metrics) }}
from unit_metrics
group by experiment_id
