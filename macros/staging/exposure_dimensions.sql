{% macro exposure_dimensions() -%}
    {{ return(evalhouse.dimensions_of('exposures')) }}
{%- endmacro %}
