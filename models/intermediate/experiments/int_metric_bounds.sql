{#- Constants of each experiment's metrics, one row per experiment, one column per constant. Of metrics whose sums are
    kept by day they are those of its arms (int_arm_centres). -#}
{%- set restated = evalhouse.metric_plan().metrics | selectattr('moves_daily') | list -%}

with arm_centres as (
    select * from {{ ref('evalhouse', 'int_arm_centres') }}
),

{%- if restated %}

unit_metrics as (
    select * from {{ ref('evalhouse', 'int_unit_metrics') }}
),

restated_bounds as (
    select
        experiment_id
        {{- evalhouse.metric_bounds(restated) | indent(4) }}
    from unit_metrics
    group by experiment_id
),
{%- endif %}

stepwise_bounds as (
    select
        experiment_id
        {%- for name, part, kind in evalhouse.stepwise_constants() %},
        min({{ name }}__{{ part }}_{{ kind }}) as {{ name }}__{{ part }}_{{ kind }}
        {%- endfor %}
    from arm_centres
    group by experiment_id
)

select
    stepwise_bounds.*
    {%- for name in evalhouse.bound_names(restated) %},
    restated_bounds.{{ name }}
    {%- endfor %}
from stepwise_bounds
{%- if restated %}
left join restated_bounds on stepwise_bounds.experiment_id = restated_bounds.experiment_id
{%- endif %}
