{#- `\1` in the replacement is the first group. Only what RE2, Postgres and Java share: classes, groups, repeats. -#}
{% macro replace_pattern(text, pattern, replacement) -%}
    {{ return(adapter.dispatch('replace_pattern', 'evalhouse')(text, pattern, replacement)) }}
{%- endmacro %}

{% macro default__replace_pattern(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement }}')
{%- endmacro %}

{% macro duckdb__replace_pattern(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement }}', 'g')
{%- endmacro %}

{% macro postgres__replace_pattern(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement }}', 'g')
{%- endmacro %}

{% macro spark__replace_pattern(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement | replace('\\', '$') }}')
{%- endmacro %}

{#- Snowflake has no groups that capture nothing; where a pattern has some, its replacement names no group. A backslash
    is doubled for the literal. -#}
{% macro snowflake__replace_pattern(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern | replace('(?:', '(') }}', '{{ replacement | replace('\\', '\\\\') }}')
{%- endmacro %}

{#- In a raw literal a quote is not doubled. -#}
{% macro bigquery__replace_pattern(text, pattern, replacement) -%}
    regexp_replace({{ text }}, r'''{{ pattern | replace("''", "'") }}''', r'{{ replacement }}')
{%- endmacro %}

{% macro redshift__replace_pattern(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement | replace('\\', '$') }}', 1, 'p')
{%- endmacro %}
