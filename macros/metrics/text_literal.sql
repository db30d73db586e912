{#- A text as an SQL literal. Where a quote is escaped by a backslash, a backslash is one too. -#}
{% macro text_literal(text) -%}
    {%- set has_backslashes = dbt.escape_single_quotes("'") != "''" -%}
    {%- set written = (text or '') | replace('\\', '\\\\') if has_backslashes else (text or '') -%}
    {{ dbt.string_literal(dbt.escape_single_quotes(written)) }}
{%- endmacro %}
