{#- Per experiment: the percentile caps, over analysed units of all arms together; the value that stands for a missing
    covariate; and the centre that means are measured from, so that the small difference of two large means keeps its
    digits. One row per experiment, one column per constant. -#}
{%- set plan = evalhouse.metric_plan() -%}

with unit_metrics as (
    select * from {{ ref('evalhouse', 'int_unit_metrics') }}
)

select
    experiment_id
    {%- for metric in plan.metrics if metric.type in ['mean', 'participation'] %}
    {%- for part in evalhouse.metric_parts(metric) %},
    {{ evalhouse.centre_of(metric, metric.name ~ '__' ~ part) }} as {{ metric.name }}__{{ part }}_centre
    {%- endfor %}
    {%- endfor %}
    {%- for metric in plan.metrics if metric.cap and metric.cap.kind == 'percentile' %}
    {%- for part in evalhouse.metric_parts(metric) %},
    {%- set column = metric.name ~ '__' ~ part %}
    {{ evalhouse.percentile_cont(column, metric.cap.value) }} as {{ column }}_upper,
    {{ evalhouse.percentile_cont(column, 1 - metric.cap.value) }} as {{ column }}_lower
    {%- endfor %}
    {%- endfor %}
    {%- for metric in plan.metrics if metric.missing == 'exclude' %}
    {%- for part in evalhouse.metric_parts(metric) if part in ['x', 'w'] %},
    avg({{ metric.name }}__{{ part }}) as {{ metric.name }}__{{ part }}_mean
    {%- endfor %}
    {%- endfor %}
from unit_metrics
group by experiment_id
