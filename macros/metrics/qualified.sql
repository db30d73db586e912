{#- A comma-separated list of columns, each prefixed with the relation's name. -#}
{% macro qualified(relation, columns) -%}
    {%- for column in columns.split(', ') -%}
        {{ relation }}.{{ column }}{{ ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{#- Equality of two relations on a comma-separated list of columns. -#}
{% macro joined(left, right, columns) -%}
    {%- for column in columns.split(', ') -%}
        {{ left }}.{{ column }} = {{ right }}.{{ column }}{{ ' and ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
