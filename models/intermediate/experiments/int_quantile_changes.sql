{#- Values of quantile metrics by slice as they come (sign 1) and go (sign -1) day by day, each in a bin half a percent
    wide. Counts and sums of bins can be added up over days; ordered lists of values cannot. -#}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set slice_key = 'experiment_id, variation_id, metric_name, dimension_name, dimension_value' -%}
{%- set unit_quantile_metrics = evalhouse.quantile_metrics('units') -%}

with metric_events as (
    select * from {{ ref('evalhouse', 'int_metric_events') }}
    where counts_until is null or counts_until > counts_from
),

{%- if unit_quantile_metrics %}

experiments as (
    select
        *,
        cast('0001-01-01' as date) as rebuilt_from
    from {{ ref('evalhouse', 'int_experiments') }}
),

{{ evalhouse.unit_changes(unit_quantile_metrics) }},
{%- endif %}

changes as (
    select
        metric_events.*,
        metric_events.counts_from as change_date,
        cast(1 as {{ evalhouse.type_double() }}) as sign
    from metric_events

    union all

    select
        metric_events.*,
        metric_events.counts_until as change_date,
        cast(-1 as {{ evalhouse.type_double() }}) as sign
    from metric_events
    where metric_events.counts_until is not null
),

all_changes as (
    select
        metric_name,
        experiment_id,
        unit_id,
        variation_id,
        cluster_id,
        {%- for dimension in dimensions %}
        {{ dimension.name }},
        {%- endfor %}
        change_date,
        sign,
        metric_value
    from changes
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
        change_date,
        sign,
        {{ evalhouse.limited(metric, metric.name ~ '__y') }} as metric_value
    from unit_moves
    where {{ metric.name }}__y is not null
    {%- endfor %}
    {%- for y, sign in [['y', 1], ['earlier_y', -1]] if unit_quantile_metrics %}

    union all

    select
        {{ evalhouse.name_of_number(unit_quantile_metrics) | indent(8) }} as metric_name,
        experiment_id,
        unit_id,
        variation_id,
        cluster_id,
        {%- for dimension in dimensions %}
        {{ dimension.name }},
        {%- endfor %}
        change_date,
        cast({{ sign }} as {{ evalhouse.type_double() }}) as sign,
        {{ y }} as metric_value
    from unit_steps
    where {{ y }} is not null
    {%- endfor %}
),

binned as (
    select
        *,
        case
            when metric_value > 0 then 100000 + floor(ln(metric_value) / {{ evalhouse.bin_width() }})
            when metric_value < 0 then -100000 - floor(ln(-metric_value) / {{ evalhouse.bin_width() }})
            else 0
        end as value_bin
    from all_changes
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
        coalesce(cluster_id, unit_id) as group_id,
        unit_id,
        change_date,
        sign,
        metric_value,
        value_bin
    from binned
    {%- endfor %}
)

select
    sliced.*,
    -- One number to sort and join by instead of five texts.
    dense_rank() over (order by {{ slice_key }}) as slice_number
from sliced
