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

{#- Elements stay as they are: cosine_similarity reads each as a number. -#}
{% macro snowflake__to_double_array(expression, data_type) -%}
    {%- if 'char' in data_type or data_type in ['text', 'string'] -%}
        try_cast(try_parse_json({{ expression }}) as array)
    {%- else -%}
        cast({{ expression }} as array)
    {%- endif -%}
{%- endmacro %}

{% macro bigquery__to_double_array(expression, data_type) -%}
    {%- if expression == 'null' -%}
        cast(null as array<float64>)
    {%- elif data_type.startswith('array') -%}
        {{ expression }}
    {%- else -%}
        array(
            select safe_cast(element as float64)
            from unnest(json_value_array(safe.parse_json({{ expression }}, wide_number_mode => 'round'))) as element
        )
    {%- endif -%}
{%- endmacro %}

{% macro redshift__to_double_array(expression, data_type) -%}
    {%- if expression == 'null' -%}
        cast(null as super)
    {%- elif 'char' in data_type or data_type == 'text' -%}
        case when is_valid_json_array({{ expression }}) then json_parse({{ expression }}) end
    {%- else -%}
        {{ expression }}
    {%- endif -%}
{%- endmacro %}
