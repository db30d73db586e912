{% macro percentile_cont(value, fraction) -%}
    {{ return(adapter.dispatch('percentile_cont', 'evalhouse')(value, fraction)) }}
{%- endmacro %}

{% macro default__percentile_cont(value, fraction) -%}
    percentile_cont({{ fraction }}) within group (order by {{ value }})
{%- endmacro %}

{% macro duckdb__percentile_cont(value, fraction) -%}
    quantile_cont({{ value }}, {{ fraction }})
{%- endmacro %}

{% macro spark__percentile_cont(value, fraction) -%}
    percentile({{ value }}, {{ fraction }})
{%- endmacro %}

{#- BigQuery's own is a window function only. -#}
{% macro bigquery__percentile_cont(value, fraction) -%}
    {%- set sorted = 'array_agg(' ~ value ~ ' ignore nulls order by ' ~ value ~ ')' -%}
    {%- set place = '(count(' ~ value ~ ') - 1) * ' ~ fraction -%}
    {{ sorted }}[safe_offset(cast(floor({{ place }}) as int64))]
    + ({{ place }} - floor({{ place }}))
    * (
        {{ sorted }}[safe_offset(cast(ceil({{ place }}) as int64))]
        - {{ sorted }}[safe_offset(cast(floor({{ place }}) as int64))]
    )
{%- endmacro %}
