{#- By how much the sums of every arm, phase and slice change on each day. Their running totals are
    the sums at every look, squares and products included, and no unit is aggregated twice. -#}
{%- set metrics = evalhouse.stepwise_metrics() -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set key = ['experiment_id', 'variation_id', 'phase_number', 'change_date'] -%}

with changes as (
    select * from {{ ref('evalhouse', 'int_unit_changes') }}
),

grouped as (
    select
        {{ key | join(',\n        ') }},
        {%- for dimension in dimensions %}
        {{ dimension.name }},
        {%- endfor %}
        sum(sign) as units
        {%- for metric in metrics %}
        {%- for name in evalhouse.step_sums(metric) %},
        {{ evalhouse.step_sum(metric, name) }} as {{ metric.name }}__{{ name }}
        {%- endfor %}
        {%- endfor %}
    from changes
    group by {{ evalhouse.dimension_grouping_sets(key, dimensions) }}
)

select
    {{ evalhouse.dimension_labels(dimensions) | indent(4) }},
    grouped.*
from grouped
