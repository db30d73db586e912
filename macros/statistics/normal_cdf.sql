{% macro normal_cdf(x) -%}
    {{- evalhouse.normal_sf('-(' ~ x ~ ')') -}}
{%- endmacro %}
