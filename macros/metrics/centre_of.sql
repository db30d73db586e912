{#- What the values of a mean are measured from: their mean where it is large beside the spread, so that a small
    difference of two means keeps its digits; zero otherwise, so that zero stays zero and one wild value costs nobody
    digits. -#}
{% macro centre_of(metric, column) -%}
    {%- set mean = 'avg(' ~ column ~ ')' -%}
    case
        when abs({{ mean }}) > 1000 * stddev_samp({{ column }}) then
        {%- if metric.cap and metric.cap.kind == 'absolute' %}
            greatest(least({{ mean }}, {{ metric.cap.value }}), -{{ metric.cap.value }})
        {%- else %}
            {{ mean }}
        {%- endif %}
        else 0
    end
{%- endmacro %}
