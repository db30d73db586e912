{% macro value_at_first(value, ordered_by) -%}
    {{ return(adapter.dispatch('value_at_first', 'evalhouse')(value, ordered_by)) }}
{%- endmacro %}

{#- The value itself breaks ties of time, so that the answer does not depend on the order of rows or threads. -#}
{% macro default__value_at_first(value, ordered_by) -%}
    min_by({{ value }}, case when {{ value }} is not null then struct({{ ordered_by }}, {{ value }}) end)
{%- endmacro %}

{% macro duckdb__value_at_first(value, ordered_by) -%}
    arg_min({{ value }}, row({{ ordered_by }}, {{ value }}))
{%- endmacro %}

{% macro postgres__value_at_first(value, ordered_by) -%}
    (array_agg({{ value }} order by {{ ordered_by }}, {{ value }}) filter (where {{ value }} is not null))[1]
{%- endmacro %}

{% macro snowflake__value_at_first(value, ordered_by) -%}
    cast(get(array_agg({{ value }}) within group (order by {{ ordered_by }}, {{ value }}), 0) as varchar)
{%- endmacro %}

{% macro bigquery__value_at_first(value, ordered_by) -%}
    array_agg({{ value }} ignore nulls order by {{ ordered_by }}, {{ value }} limit 1)[safe_offset(0)]
{%- endmacro %}

{#- The time is 20 characters; a list of all values would break at 64 kilobytes. -#}
{% macro redshift__value_at_first(value, ordered_by) -%}
    substring(min(to_char({{ ordered_by }}, 'YYYYMMDDHH24MISSUS') || {{ value }}), 21, 65535)
{%- endmacro %}
