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

{#- dbt's own gives a datetime, which BigQuery does not compare with a timestamp. -#}
{% macro bigquery__time_added(datepart, interval, from_date_or_timestamp) -%}
    timestamp_add(
        cast({{ from_date_or_timestamp }} as timestamp), interval cast({{ interval }} as int64) {{ datepart }}
    )
{%- endmacro %}

{#- A number of seconds that is a double is refused. -#}
{% macro redshift__time_added(datepart, interval, from_date_or_timestamp) -%}
    dateadd({{ datepart }}, cast({{ interval }} as bigint), {{ from_date_or_timestamp }})
{%- endmacro %}
