{% macro without_function_words(words) -%}
    {{ evalhouse.replace_pattern(words, ' (?:(?:' ~ evalhouse.function_words() | join('|') ~ ') )+', ' ') }}
{%- endmacro %}
