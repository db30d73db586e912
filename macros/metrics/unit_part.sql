{#- One part of a metric at unit grain after capping, filling and centring. A percentile cap winsorises the upper tail
    and, where the metric takes negative values, the lower tail at the mirrored percentile; an absolute cap is
    symmetric. -#}
{% macro unit_part(metric, part, is_centred=true) -%}
    {%- set column = 'unit_metrics.' ~ metric.name ~ '__' ~ part -%}
    {%- set bound = 'bounds.' ~ metric.name ~ '__' ~ part -%}
    {%- if metric.missing == 'exclude' and part in ['x', 'w'] -%}
        {%- set column = 'case when unit_metrics.' ~ metric.name ~ '__y is not null then coalesce('
            ~ column ~ ', ' ~ bound ~ '_mean, 0) end' -%}
    {%- endif -%}
    {%- set centre = ' - ' ~ bound ~ '_centre' if is_centred and metric.type in ['mean', 'participation'] else '' -%}
    {%- if not metric.cap -%}
        {{ column }}{{ centre }}
    {%- else -%}
        {%- if metric.cap.kind == 'absolute' -%}
            {%- set upper = metric.cap.value -%}
            {%- set lower = '-' ~ metric.cap.value -%}
        {%- else -%}
            {%- set upper = bound ~ '_upper' -%}
            {%- set lower = 'least(' ~ bound ~ '_lower, 0)' -%}
        {%- endif -%}
        {{ evalhouse.clamped(column, lower, upper) }}{{ centre }}
    {%- endif -%}
{%- endmacro %}

{#- A value within the metric's absolute cap, if it has one. -#}
{% macro limited(metric, value) -%}
    {%- if metric.cap and metric.cap.kind == 'absolute' -%}
        {{ evalhouse.clamped('(' ~ value ~ ')', '-' ~ metric.cap.value, metric.cap.value) }}
    {%- else -%}
        {{ value }}
    {%- endif -%}
{%- endmacro %}

{% macro clamped(value, lower, upper) -%}
        case
            when {{ value }} > {{ upper }} then {{ upper }}
            when {{ value }} < {{ lower }} then {{ lower }}
            else {{ value }}
        end
{%- endmacro %}
