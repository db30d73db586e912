{#- Width of a bin of values on the scale of their logarithm: two values of one bin differ by less than 0.5%. -#}
{% macro bin_width() -%}
    4.9875e-3
{%- endmacro %}
