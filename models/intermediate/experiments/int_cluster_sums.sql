{#- Means of every metric by cluster and arm, of the newest data and at every look, for experiments whose units come in
    clusters: the sandwich variance needs them, because a cluster's units move together and may sit in both arms. -#}
{%- set plan = evalhouse.metric_plan() -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set restated = plan.metrics | selectattr('moves_daily') | list -%}
{%- set parts = ['y', 'd', 'x', 'w'] -%}
{%- set missing = 'cast(null as ' ~ evalhouse.type_double() ~ ')' -%}
{%- set key = ['experiment_id', 'variation_id', 'phase_number', 'cluster_id'] -%}

with experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
    where is_clustered
),

{%- if restated %}

all_unit_values as (
    select * from {{ ref('evalhouse', 'int_unit_values') }}
),

all_unit_looks as (
    select * from {{ ref('evalhouse', 'int_unit_looks') }}
),
{%- endif %}

looks as (
    select * from {{ ref('evalhouse', 'int_cluster_looks_wide') }}
),

current_quantile_groups as (
    select * from {{ ref('evalhouse', 'int_quantile_groups') }}
    where is_clustered
),

quantile_look_groups as (
    select * from {{ ref('evalhouse', 'int_quantile_look_groups') }}
    where is_clustered
)

{%- if restated -%}
,

unit_values as (
    select all_unit_values.*
    from all_unit_values
    inner join experiments on all_unit_values.experiment_id = experiments.experiment_id
),

unit_looks as (
    select all_unit_looks.*
    from all_unit_looks
    inner join experiments on all_unit_looks.experiment_id = experiments.experiment_id
),

grouped as (
    {{ evalhouse.cluster_means('unit_values', key, restated, dimensions) | indent(4) }}
),

current_means as (
    select
        {{ evalhouse.dimension_labels(dimensions) | indent(8) }},
        {{ evalhouse.current_look() }} as look_date,
        grouped.*
    from grouped
),

grouped_looks as (
    {{ evalhouse.cluster_means('unit_looks', ['look_date'] + key, restated, dimensions) | indent(4) }}
),

restated_means as (
    select
        {{ evalhouse.dimension_labels(dimensions) | indent(8) }},
        grouped_looks.*
    from grouped_looks
)
{%- endif %}

{% for relation in ['current_quantile_groups', 'quantile_look_groups'] -%}
{{ 'union all' if not loop.first }}
select
    look_date,
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
from {{ relation }}
{% endfor -%}
{%- for metric in plan.metrics if metric.type != 'quantile' %}
{%- set available = evalhouse.metric_parts(metric) -%}
{%- for relation in (['current_means', 'restated_means'] if metric.moves_daily else ['looks']) %}

union all

select
    look_date,
    experiment_id,
    variation_id,
    phase_number,
    dimension_name,
    dimension_value,
    '{{ metric.name }}' as metric_name,
    cluster_id,
    cast({{ metric.name }}__n as {{ evalhouse.type_double() }}) as units
    {%- for part in parts %},
    {{ metric.name ~ '__' ~ part if part in available else missing }} as mean_{{ part }}
    {%- endfor %}
from {{ relation }}
where {{ metric.name }}__n > 0
{%- endfor %}
{%- endfor %}
