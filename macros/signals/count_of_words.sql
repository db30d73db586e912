{#- Of a text with a space before, between and after its words. -#}
{% macro count_of_words(words) -%}
    (length({{ words }}) - length(replace({{ words }}, ' ', '')) - 1)
{%- endmacro %}
