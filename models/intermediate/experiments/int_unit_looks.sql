{#- Metrics whose unit values move without an event (shares of days, percentile caps, filled covariates are those of the
    day): the value of every unit at every look. -#}
{%- set metrics = evalhouse.metric_plan().metrics | selectattr('moves_daily') | list -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set key = ['look_date', 'experiment_id', 'unit_id', 'variation_id', 'phase_number', 'cluster_id'] -%}

with unit_steps as (
    select * from {{ ref('evalhouse', 'int_unit_steps') }}
),

looks as (
    select * from {{ ref('evalhouse', 'int_looks') }}
    {%- if not metrics %}
    where 1 = 0
    {%- endif %}
),

unit_looks as (
    select
        unit_steps.*,
        looks.as_of_date as look_date,
        case when looks.look_ends_at < unit_steps.horizon_at then looks.look_ends_at else unit_steps.horizon_at end
            as observed_until
    from unit_steps
    inner join looks
        on unit_steps.experiment_id = looks.experiment_id
        and unit_steps.valid_from <= looks.as_of_date
        and (unit_steps.valid_until is null or unit_steps.valid_until > looks.as_of_date)
),

unit_metrics as (
    select
        {{ key | join(',\n        ') }}
        {%- for dimension in dimensions %},
        {{ dimension.name }}
        {%- endfor %}
        {%- for metric in metrics %}
        {%- for part in evalhouse.metric_parts(metric) %},
        {%- set column = metric.name ~ '__' ~ part %}
        {%- if metric.type == 'participation' and metric.span_seconds is none %}
        {{ evalhouse.share_of_days(
            column, evalhouse.observed_days(metric, 'first_exposed_at', 'observed_until')
        ) }} as {{ column }}
        {%- else %}
        {{ column }}
        {%- endif %}
        {%- endfor %}
        {%- endfor %}
    from unit_looks
),

bounds as (
    select
        experiment_id,
        look_date
        {{- evalhouse.metric_bounds(metrics) | indent(4) }}
    from unit_metrics
    group by experiment_id, look_date
)

select
    {{ evalhouse.qualified('unit_metrics', key | join(', ')) }}
    {%- for dimension in dimensions %},
    unit_metrics.{{ dimension.name }}
    {%- endfor %}
    {%- for metric in metrics %}
    {%- for part in evalhouse.metric_parts(metric) %},
    {{ evalhouse.unit_part(metric, part) }} as {{ metric.name }}__{{ part }}
    {%- endfor %}
    {%- if metric.type in ['mean', 'participation'] %},
    bounds.{{ metric.name }}__y_centre as {{ metric.name }}__centre
    {%- endif %}
    {%- endfor %}
from unit_metrics
inner join bounds
    on unit_metrics.experiment_id = bounds.experiment_id
    and unit_metrics.look_date = bounds.look_date
