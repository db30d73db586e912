{#- The configured dimensions that an input's table has, as [{name, is_protected}]; while dbt parses, all. -#}
{% macro dimensions_of(input_name) -%}
    {%- set config = evalhouse.settings() -%}
    {%- set found = evalhouse.raw_columns(input_name) -%}
    {%- set dimensions = [] -%}
    {%- for name in config.protected_dimensions + config.dimensions if not execute or name | lower in found -%}
        {%- do dimensions.append({'name': name, 'is_protected': name in config.protected_dimensions}) -%}
    {%- endfor -%}
    {{ return(dimensions) }}
{%- endmacro %}
