{#- Text that is no number becomes null: staging counts it and the run goes on. -#}
{% macro to_double(expression, data_type) -%}
    {{ return(adapter.dispatch('to_double', 'evalhouse')(expression, data_type)) }}
{%- endmacro %}

{#- Safe casts of the engines read text; some refuse anything else, and a boolean is a number nowhere. -#}
{% macro default__to_double(expression, data_type) -%}
    {%- if 'char' in data_type or data_type in ['text', 'string'] -%}
        {{ dbt.safe_cast(expression, evalhouse.type_double()) }}
    {%- elif data_type.startswith('bool') -%}
        cast(case when {{ expression }} then 1 when not {{ expression }} then 0 end as {{ evalhouse.type_double() }})
    {%- else -%}
        cast({{ expression }} as {{ evalhouse.type_double() }})
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__to_double(expression, data_type) -%}
    try_cast({{ expression }} as double)
{%- endmacro %}

{#- Postgres has no safe cast: only text of a number's form, with an exponent that fits, reaches the cast. -#}
{% macro postgres__to_double(expression, data_type) -%}
    {%- if 'char' in data_type or data_type == 'text' -%}
        case
            when {{ expression }} ~* '^\s*([+-]?(\d{1,200}(\.\d*)?|\.\d+)(e[+-]?\d{1,2})?|nan|[+-]?inf(inity)?)\s*$'
                then cast({{ expression }} as double precision)
        end
    {%- elif data_type == 'boolean' -%}
        cast(cast({{ expression }} as integer) as double precision)
    {%- else -%}
        cast({{ expression }} as double precision)
    {%- endif -%}
{%- endmacro %}

{% macro redshift__to_double(expression, data_type) -%}
    {%- if 'char' in data_type or data_type == 'text' -%}
        try_cast(nullif(trim({{ expression }}), '') as double precision)
    {%- else -%}
        {{ evalhouse.default__to_double(expression, data_type) }}
    {%- endif -%}
{%- endmacro %}
