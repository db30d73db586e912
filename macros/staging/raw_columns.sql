{#- Columns of the user's table for an input, as {lower-case name: {name, data_type}}. Empty while dbt parses. -#}
{% macro raw_columns(input_name) -%}
    {%- set found = {} -%}
    {%- if execute and evalhouse.has_input(input_name) -%}
        {%- set wanted = source('evalhouse_raw', input_name) -%}
        {%- set relation = adapter.get_relation(wanted.database, wanted.schema, wanted.identifier) -%}
        {%- if relation is none -%}
            {{ exceptions.raise_compiler_error(
                "evalhouse: inputs lists " ~ input_name ~ ", but there is no relation " ~ wanted.schema ~ "."
                ~ wanted.identifier ~ "; load it, name it in source_tables, set raw_schema, or leave it out of inputs"
            ) }}
        {%- endif -%}
        {%- for column in adapter.get_columns_in_relation(relation) -%}
            {%- do found.update({column.name | lower: {'name': column.name, 'data_type': column.data_type | lower}}) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(found) }}
{%- endmacro %}
