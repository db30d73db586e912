{#- A variance, zero where it is no larger than rounding leaves of a constant of that size. -#}
{% macro without_rounding_noise(variance, mean) -%}
    case when {{ variance }} <= 1e-24 * {{ mean }} * {{ mean }} then 0 else {{ variance }} end
{%- endmacro %}
