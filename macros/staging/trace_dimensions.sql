{% macro trace_dimensions() -%}
    {{ return(evalhouse.dimensions_of('traces')) }}
{%- endmacro %}
