{#- The configured `analysis.as_of` as a timestamp literal, or null when the data decides. -#}
{% macro as_of_literal() -%}
    {%- set as_of = evalhouse.settings().analysis.as_of -%}
    cast({{ "'" ~ as_of ~ "'" if as_of else 'null' }} as {{ dbt.type_timestamp() }})
{%- endmacro %}
