{#- Moments in the newest data of the metrics that move every day, by arm, phase and slice: one pass over the units. -#}
{%- set metrics = evalhouse.metric_plan().metrics | selectattr('moves_daily') | list -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set key = ['experiment_id', 'variation_id', 'phase_number'] -%}

{% if metrics -%}
with unit_values as (
    select * from {{ ref('evalhouse', 'int_unit_values') }}
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
    from unit_values
    group by {{ evalhouse.dimension_grouping_sets(key, dimensions) }}
)

select
    {{ evalhouse.dimension_labels(dimensions) | indent(4) }},
    grouped.*
from grouped
{%- else -%}
with experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
)

select
    'all' as dimension_name,
    'all' as dimension_value,
    experiment_id,
    cast(null as {{ dbt.type_string() }}) as variation_id,
    cast(null as {{ dbt.type_bigint() }}) as phase_number,
    cast(null as {{ dbt.type_bigint() }}) as analysed_units
from experiments
where 1 = 0
{%- endif %}
