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

bounds_of_arms as (
    select
        experiment_id
        {%- for name, part, kind in evalhouse.stepwise_constants() %},
        min({{ name }}__{{ part }}_{{ kind }}) as {{ name }}__{{ part }}_{{ kind }}
        {%- endfor %}
    from arm_centres
    group by experiment_id
)

select
    bounds_of_arms.*
    {%- for name in evalhouse.bound_names(restated) %},
    restated_bounds.{{ name }}
    {%- endfor %}
from bounds_of_arms
{%- if restated %}
left join restated_bounds on bounds_of_arms.experiment_id = restated_bounds.experiment_id
{%- endif %}
