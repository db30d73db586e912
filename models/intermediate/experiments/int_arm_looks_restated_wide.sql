{#- The same moments for metrics whose unit values move without an event: every unit is aggregated again at every look.
    -#}
{%- set metrics = evalhouse.metric_plan().metrics | selectattr('moves_daily') | list -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set key = ['look_date', 'experiment_id', 'variation_id', 'phase_number'] -%}

with unit_looks as (
    select * from {{ ref('evalhouse', 'int_unit_looks') }}
),

grouped as (
    select
        {{ key | join(',\n        ') }},
        {%- for dimension in dimensions %}
        {{ dimension.name }},
        {%- endfor %}
        count(*) as analysed_units
        {%- for metric in metrics %}
        {%- for moment in evalhouse.metric_moments(metric) %},
        {{ moment.sql }} as {{ metric.name }}__{{ moment.name }}
        {%- endfor %}
        {%- endfor %}
    from unit_looks
    group by {{ evalhouse.dimension_grouping_sets(key, dimensions) }}
)

select
    {{ evalhouse.dimension_labels(dimensions) | indent(4) }},
    grouped.*
from grouped
