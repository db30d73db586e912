{#- As dbt's dateadd, which on Spark drops fractions of a second and adds no milliseconds. -#}
{% macro time_added(datepart, interval, from_date_or_timestamp) -%}
    {{ return(adapter.dispatch('time_added', 'evalhouse')(datepart, interval, from_date_or_timestamp)) }}
{%- endmacro %}

{% macro default__time_added(datepart, interval, from_date_or_timestamp) -%}
    {{ dbt.dateadd(datepart, interval, from_date_or_timestamp) }}
{%- endmacro %}

{% macro spark__time_added(datepart, interval, from_date_or_timestamp) -%}
    timestampadd({{ datepart }}, {{ interval }}, {{ from_date_or_timestamp }})
{%- endmacro %}
