{#- Moments of every metric by arm, phase and slice, all metrics of a row side by side: one pass over the units. -#}
{%- set plan = evalhouse.metric_plan() -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}

with unit_values as (
    select * from {{ ref('evalhouse', 'int_unit_values') }}
),

grouped as (
    select
        experiment_id,
        variation_id,
        phase_number,
        {%- for dimension in dimensions %}
        {{ dimension.name }},
        {%- endfor %}
        count(*) as analysed_units
        {%- for metric in plan.metrics %}
        {%- for moment in evalhouse.metric_moments(metric) %},
        {{ moment.sql }} as {{ metric.name }}__{{ moment.name }}
        {%- endfor %}
        {%- endfor %}
    from unit_values
    group by {{ evalhouse.dimension_grouping_sets(['experiment_id', 'variation_id', 'phase_number'], dimensions) }}
)

select
    {{ evalhouse.dimension_labels(dimensions) | indent(4) }},
    grouped.*
from grouped
