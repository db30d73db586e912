{#- Root-project only (dbt does not take these macros from an installed package): on Spark the example's raw tables are
    read from their files. dbt-spark would write each row into a statement, and load a null as the word None. -#}
{% macro spark__create_csv_table(model, agate_table) -%}
    {%- set column_types = model['config']['column_types'] -%}
    {%- set types = {'text': dbt.type_string(), 'double precision': evalhouse.type_double()} -%}
    {%- call statement('_') %}
        create or replace temporary view {{ model['alias'] }}_file
        using csv
        options (
            path '{{ model["root_path"] }}/{{ model["original_file_path"] }}',
            header 'true', multiline 'true', escape '"'
        )
    {%- endcall -%}
    {%- set create_table %}
        create table {{ this.render() }}
        {{ file_format_clause() }}
        as
        select
            {%- for name in agate_table.column_names %}
            cast({{ name }} as {{ types.get(column_types[name], column_types[name]) }}) as {{ name }}
            {{- ',' if not loop.last }}
            {%- endfor %}
        from {{ model['alias'] }}_file
    {%- endset -%}
    {%- call statement('_') %}
        {{ create_table }}
    {%- endcall -%}
    {{ return(create_table) }}
{%- endmacro %}

{% macro spark__load_csv_rows(model, agate_table) -%}
    {{ return('') }}
{%- endmacro %}
