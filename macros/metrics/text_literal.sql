{#- A text as an SQL literal. -#}
{% macro text_literal(text) -%}
    '{{ (text or '') | replace("'", "''") }}'
{%- endmacro %}
