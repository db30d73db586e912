{% macro without_acknowledgements(words) -%}
    {{ evalhouse.replace_pattern(words, ' (?:(?:' ~ evalhouse.acknowledgement_phrases() | join('|') ~ ') )+', ' ') }}
{%- endmacro %}
