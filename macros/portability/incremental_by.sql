{#- How an incremental run replaces rows: all stored rows with a key of the new ones go. As arguments of `config`. -#}
{% macro incremental_by(columns) -%}
    {{ return(adapter.dispatch('incremental_by', 'evalhouse')(columns)) }}
{%- endmacro %}

{% macro default__incremental_by(columns) -%}
    {{ return({'incremental_strategy': 'delete+insert', 'unique_key': columns}) }}
{%- endmacro %}

{#- The key is one text on purpose: of a list of columns dbt-duckdb makes a join of each stored row of a day with each
    new one. -#}
{% macro duckdb__incremental_by(columns) -%}
    {{ return({'incremental_strategy': 'delete+insert', 'unique_key': columns | join(', ')}) }}
{%- endmacro %}

{% macro postgres__incremental_by(columns) -%}
    {{ return({'incremental_strategy': 'delete+insert', 'unique_key': columns | join(', ')}) }}
{%- endmacro %}

{#- Redshift has no rows in brackets to compare, which Postgres' text would become. -#}
{% macro redshift__incremental_by(columns) -%}
    {{ return(evalhouse.default__incremental_by(columns)) }}
{%- endmacro %}

{#- Parquet has no delete: the key is the partition, and partitions with new rows are replaced. -#}
{% macro spark__incremental_by(columns) -%}
    {{ return({'incremental_strategy': 'insert_overwrite', 'partition_by': columns}) }}
{%- endmacro %}

{#- Delta deletes; otherwise Databricks would take Spark's form. -#}
{% macro databricks__incremental_by(columns) -%}
    {{ return(evalhouse.default__incremental_by(columns)) }}
{%- endmacro %}

{#- BigQuery merges, or replaces partitions of one column: neither deletes by this key. It is built anew. -#}
{% macro bigquery__incremental_by(columns) -%}
    {{ return({'full_refresh': true}) }}
{%- endmacro %}
