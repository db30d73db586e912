{#- The look date of the newest data, complete day or not; all other looks are at the end of a day. -#}
{% macro current_look() -%}
    cast('9999-12-31' as date)
{%- endmacro %}
