{#- `kind` is naive (already UTC), zoned, or text; the caller knows it from the column's data type. -#}
{% macro to_utc_timestamp(expression, kind) -%}
    {{ return(adapter.dispatch('to_utc_timestamp', 'evalhouse')(expression, kind)) }}
{%- endmacro %}

{% macro default__to_utc_timestamp(expression, kind) -%}
    {%- if kind == 'text' -%}
        {{ dbt.safe_cast(expression, dbt.type_timestamp()) }}
    {%- else -%}
        cast({{ expression }} as {{ dbt.type_timestamp() }})
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__to_utc_timestamp(expression, kind) -%}
    {%- if kind == 'zoned' -%}
        case when isfinite({{ expression }}) then {{ expression }} at time zone 'UTC' end
    {%- else -%}
        case when isfinite(try_cast({{ expression }} as timestamp)) then try_cast({{ expression }} as timestamp) end
    {%- endif -%}
{%- endmacro %}

{#- Postgres drops the offset of text cast to a timestamp and fails on text that is no date: offsets go through
    timestamptz, and only text of a date's form, with a day that the month has, reaches a cast. -#}
{% macro postgres__to_utc_timestamp(expression, kind) -%}
    {%- if kind == 'zoned' -%}
        case when isfinite({{ expression }}) then {{ expression }} at time zone 'UTC' end
    {%- elif kind == 'naive' -%}
        case when isfinite({{ expression }}) then cast({{ expression }} as timestamp) end
    {%- else -%}
        {%- set long_month = '(0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])' -%}
        {%- set short_month = '(0[469]|11)-(0[1-9]|[12]\\d|30)' -%}
        {%- set common_day = '\\d{4}-(' ~ long_month ~ '|' ~ short_month ~ '|02-(0[1-9]|1\\d|2[0-8]))' -%}
        {%- set leap_day = '(\\d{2}(0[48]|[2468][048]|[13579][26])|2000)-02-29' -%}
        {%- set date_form = '(' ~ common_day ~ '|' ~ leap_day ~ ')' -%}
        {%- set clock_form = '([T ]([01]\\d|2[0-3]):[0-5]\\d(:[0-5]\\d(\\.\\d{1,9})?)?)' -%}
        case
            when {{ expression }} ~ '^{{ date_form }}{{ clock_form }}?$'
                then cast({{ expression }} as timestamp)
            when {{ expression }} ~ '^{{ date_form }}{{ clock_form }}\s*(Z|[+-]([01]\d)(:?[0-5]\d)?)$'
                then cast({{ expression }} as timestamptz) at time zone 'UTC'
        end
    {%- endif -%}
{%- endmacro %}

{#- A time with an offset loses it by a plain cast; text without one must not be read in the session's time zone. -#}
{% macro snowflake__to_utc_timestamp(expression, kind) -%}
    {%- if kind == 'zoned' -%}
        cast(convert_timezone('UTC', {{ expression }}) as timestamp_ntz)
    {%- elif kind == 'naive' -%}
        cast({{ expression }} as timestamp_ntz)
    {%- else -%}
        case
            when regexp_like(trim({{ expression }}), '.*:[0-9.:]* *(Z|[+-][0-9][0-9](:?[0-9][0-9])?)')
                then cast(convert_timezone('UTC', try_cast(trim({{ expression }}) as timestamp_tz)) as timestamp_ntz)
            else try_cast(trim({{ expression }}) as timestamp_ntz)
        end
    {%- endif -%}
{%- endmacro %}

{% macro redshift__to_utc_timestamp(expression, kind) -%}
    {%- if kind == 'zoned' -%}
        ({{ expression }} at time zone 'UTC')
    {%- elif kind == 'naive' -%}
        cast({{ expression }} as timestamp)
    {%- else -%}
        case
            when trim({{ expression }}) ~ ':[0-9.:]* *(Z|[+-][0-9][0-9](:?[0-9][0-9])?)$'
                then try_cast(trim({{ expression }}) as timestamptz) at time zone 'UTC'
            else try_cast(nullif(trim({{ expression }}), '') as timestamp)
        end
    {%- endif -%}
{%- endmacro %}
