{#- A model of ours for the SQL of a view. DuckDB's views would name their file, and find nothing when it is renamed or
    attached under another name. -#}
{% macro ref_in_file(model_name) -%}
    {%- set relation = ref('evalhouse', model_name) -%}
    {{ return(relation.include(database=false) if target.type == 'duckdb' else relation) }}
{%- endmacro %}
