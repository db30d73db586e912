{#- Aggregates over the units of an experiment that `unit_part` needs, as lines of a select, each after a comma: the
    centre that values are measured from, so that the small difference of two large means keeps its digits; percentile
    caps, over all arms together; and the mean that stands for a missing covariate. -#}
{% macro metric_bounds(metrics) -%}
    {%- for metric in metrics -%}
        {%- for part in evalhouse.metric_parts(metric) -%}
            {%- set column = metric.name ~ '__' ~ part -%}
            {%- if metric.type in ['mean', 'participation', 'ratio'] -%},
    {{ evalhouse.centre_of(metric, column) }} as {{ column }}_centre
            {%- endif -%}
            {%- if metric.cap and metric.cap.kind == 'percentile' -%},
    {{ evalhouse.percentile_cont(column, metric.cap.value) }} as {{ column }}_upper,
    {{ evalhouse.percentile_cont(column, 1 - metric.cap.value) }} as {{ column }}_lower
            {%- endif -%}
            {%- if metric.missing == 'exclude' and part in ['x', 'w'] -%},
    avg({{ column }}) as {{ column }}_mean
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
{%- endmacro %}

{#- Names of these columns, as a list. -#}
{% macro bound_names(metrics) -%}
    {%- set names = [] -%}
    {%- for metric in metrics -%}
        {%- for part in evalhouse.metric_parts(metric) -%}
            {%- set column = metric.name ~ '__' ~ part -%}
            {%- do names.append(column ~ '_centre') if metric.type in ['mean', 'participation', 'ratio'] -%}
            {%- do names.extend([column ~ '_upper', column ~ '_lower'])
                if metric.cap and metric.cap.kind == 'percentile' -%}
            {%- do names.append(column ~ '_mean') if metric.missing == 'exclude' and part in ['x', 'w'] -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(names) }}
{%- endmacro %}
