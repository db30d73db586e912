{#- Sorted by themselves: dbt's own listagg has no order on Spark. -#}
{% macro sorted_listagg(value, separator) -%}
    {{ return(adapter.dispatch('sorted_listagg', 'evalhouse')(value, separator)) }}
{%- endmacro %}

{% macro default__sorted_listagg(value, separator) -%}
    {{ dbt.listagg(value, separator, 'order by ' ~ value) }}
{%- endmacro %}

{% macro spark__sorted_listagg(value, separator) -%}
    array_join(array_sort(collect_list({{ value }})), {{ separator }})
{%- endmacro %}
