{#- Values of quantile metrics by slice in the newest data, in order: every later step picks ranks. -#}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set unit_quantile_metrics = evalhouse.quantile_metrics('units') -%}
{%- set slice_key = 'experiment_id, variation_id, metric_name, dimension_name, dimension_value' -%}

with metric_events as (
    select * from {{ ref('evalhouse', 'int_metric_events') }}
),

{%- if unit_quantile_metrics %}

unit_metrics as (
    select * from {{ ref('evalhouse', 'int_unit_metrics') }}
),
{%- endif %}

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

quantiles as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
    where metric_type = 'quantile'
),

metric_values as (
    select
        metric_name,
        experiment_id,
        unit_id,
        variation_id,
        cluster_id,
        {%- for dimension in dimensions %}
        {{ dimension.name }},
        {%- endfor %}
        metric_value
    from metric_events
    where counts_until is null
    {%- for metric in unit_quantile_metrics %}

    union all

    select
        '{{ metric.name }}' as metric_name,
        experiment_id,
        unit_id,
        variation_id,
        cluster_id,
        {%- for dimension in dimensions %}
        {{ dimension.name }},
        {%- endfor %}
        {{ metric.name }}__y as metric_value
    from unit_metrics
    where {{ metric.name }}__y is not null
    {%- endfor %}
),

sliced as (
    {%- for dimension in [none] + dimensions %}
    {{ 'union all' if not loop.first }}
    select
        metric_name,
        experiment_id,
        variation_id,
        {{ "'" ~ dimension.name ~ "'" if dimension else "'all'" }} as dimension_name,
        {{ dimension.name if dimension else "'all'" }} as dimension_value,
        -- Independent groups of values: the cluster where the experiment has clusters, else the unit.
        coalesce(cluster_id, unit_id) as group_id,
        unit_id,
        metric_value
    from metric_values
    {%- endfor %}
),

numbered as (
    select
        sliced.*,
        quantiles.quantile_of,
        quantiles.quantile,
        experiments.is_clustered,
        experiments.alpha,
        -- One number to sort and join by instead of five texts.
        dense_rank() over (order by {{ evalhouse.qualified('sliced', slice_key) }}) as slice_number
    from sliced
    inner join quantiles on sliced.metric_name = quantiles.metric_name
    inner join experiments on sliced.experiment_id = experiments.experiment_id
),

ranked as (
    select
        *,
        row_number() over (partition by slice_number order by metric_value) as values_through,
        count(*) over (partition by slice_number) as values_in_slice
    from numbered
)

select
    {{ evalhouse.current_look() }} as look_date,
    ranked.*,
    ranked.values_through - 1 as values_before
from ranked
