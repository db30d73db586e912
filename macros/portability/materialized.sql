{#- `as {{ evalhouse.materialized() }} (` makes a CTE a step of its own where the engine would otherwise paste its long
    expressions into every place that uses them (Postgres does, and then never ends). -#}
{% macro materialized() -%}
    {{ return(adapter.dispatch('materialized', 'evalhouse')()) }}
{%- endmacro %}

{% macro default__materialized() -%}
{%- endmacro %}

{% macro duckdb__materialized() -%}
    materialized
{%- endmacro %}

{% macro postgres__materialized() -%}
    materialized
{%- endmacro %}

{#- Otherwise Redshift would take Postgres' form. -#}
{% macro redshift__materialized() -%}
{%- endmacro %}
