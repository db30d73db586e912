{#- Parts of a metric that have a column of their own at unit grain: y (value or numerator), d (denominator),
    x and w (the same before exposure). Empty for quantiles of events, which have no unit value. -#}
{% macro metric_parts(metric) -%}
    {%- set parts = [] -%}
    {%- if metric.type == 'funnel' or metric.numerator -%}{%- do parts.append('y') -%}{%- endif -%}
    {%- if metric.denominator_total -%}{%- do parts.append('d') -%}{%- endif -%}
    {%- if metric.numerator_before -%}{%- do parts.append('x') -%}{%- endif -%}
    {%- if metric.denominator_before -%}{%- do parts.append('w') -%}{%- endif -%}
    {{ return(parts) }}
{%- endmacro %}
