{#- Sums of every metric by cluster and arm, for experiments whose units come in clusters: the sandwich variance needs
    them, because a cluster's units move together and may sit in both arms. -#}
{%- set plan = evalhouse.metric_plan() -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set parts = ['y', 'd', 'x', 'w'] -%}
{%- set missing = 'cast(null as ' ~ evalhouse.type_double() ~ ')' -%}
{%- set key = ['experiment_id', 'variation_id', 'phase_number', 'cluster_id'] -%}

with experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
    where is_clustered
),

all_unit_values as (
    select * from {{ ref('evalhouse', 'int_unit_values') }}
),

unit_values as (
    select all_unit_values.*
    from all_unit_values
    inner join experiments on all_unit_values.experiment_id = experiments.experiment_id
),

quantile_groups as (
    select * from {{ ref('evalhouse', 'int_quantile_groups') }}
    where is_clustered
),

grouped as (
    select
        experiment_id,
        variation_id,
        phase_number,
        cluster_id,
        {%- for dimension in dimensions %}
        {{ dimension.name }},
        {%- endfor %}
        count(*) as analysed_units
        {%- for metric in plan.metrics %}
        {%- for part in evalhouse.metric_parts(metric) %},
        {%- if part == 'y' %}
        count({{ metric.name }}__y) as {{ metric.name }}__units,
        {%- endif %}
        avg({{ metric.name }}__{{ part }}) as {{ metric.name }}__{{ part }}
        {%- endfor %}
        {%- endfor %}
    from unit_values
    group by {{ evalhouse.dimension_grouping_sets(key, dimensions) }}
),

wide as (
    select
        {{ evalhouse.dimension_labels(dimensions) | indent(8) }},
        grouped.*
    from grouped
)

select
    experiment_id,
    variation_id,
    1 as phase_number,
    dimension_name,
    dimension_value,
    metric_name,
    group_id as cluster_id,
    values_of_group as units,
    values_at_or_below / values_of_group as mean_y,
    cast(null as {{ evalhouse.type_double() }}) as mean_d,
    cast(null as {{ evalhouse.type_double() }}) as mean_x,
    cast(null as {{ evalhouse.type_double() }}) as mean_w
from quantile_groups
{%- for metric in plan.metrics if metric.type != 'quantile' %}
{%- set available = evalhouse.metric_parts(metric) %}

union all

select
    experiment_id,
    variation_id,
    phase_number,
    dimension_name,
    dimension_value,
    '{{ metric.name }}' as metric_name,
    cluster_id,
    cast({{ metric.name }}__units as {{ evalhouse.type_double() }}) as units
    {%- for part in parts %},
    {{ metric.name ~ '__' ~ part if part in available else missing }} as mean_{{ part }}
    {%- endfor %}
from wide
where {{ metric.name }}__units > 0
{%- endfor %}
