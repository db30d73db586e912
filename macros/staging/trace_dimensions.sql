{#- The configured dimensions that the traces table has, as [{name, is_protected}]; while dbt parses, all. -#}
{% macro trace_dimensions() -%}
    {%- set config = evalhouse.settings() -%}
    {%- set found = evalhouse.raw_columns('traces') -%}
    {%- set dimensions = [] -%}
    {%- for name in config.protected_dimensions + config.dimensions if not execute or name | lower in found -%}
        {%- do dimensions.append({'name': name, 'is_protected': name in config.protected_dimensions}) -%}
    {%- endfor -%}
    {{ return(dimensions) }}
{%- endmacro %}
