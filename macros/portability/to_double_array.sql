{#- A raw column that holds a vector as an array of doubles; text is read as [1, 2, 3]. -#}
{% macro to_double_array(expression, data_type) -%}
    {{ return(adapter.dispatch('to_double_array', 'evalhouse')(expression, data_type)) }}
{%- endmacro %}

{% macro default__to_double_array(expression, data_type) -%}
    {%- if data_type.startswith('array') -%}
        cast({{ expression }} as array<double>)
    {%- else -%}
        from_json({{ expression }}, 'array<double>')
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__to_double_array(expression, data_type) -%}
    try_cast({{ expression }} as double[])
{%- endmacro %}

{#- Only text of an array's form reaches the cast, which would fail on any other. -#}
{% macro postgres__to_double_array(expression, data_type) -%}
    {%- if 'char' in data_type or data_type == 'text' -%}
        case
            when {{ expression }} ~ '^\s*\[\s*-?\d[-+.eE\d]*(\s*,\s*-?\d[-+.eE\d]*)*\s*\]\s*$'
                then cast(translate({{ expression }}, '[]', '{}') as double precision[])
        end
    {%- else -%}
        cast({{ expression }} as double precision[])
    {%- endif -%}
{%- endmacro %}
