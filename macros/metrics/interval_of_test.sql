{#- Brings a bound into line with the test: widened to no effect (zero) where `p_value` does not reject it, and not
    beyond it where it does and the bound is the one that faces zero. Expects columns p_value and alpha. -#}
{% macro interval_of_test(bound, side, faces_zero) -%}
    {%- set widen, narrow = ('least', 'greatest') if side == 'lower' else ('greatest', 'least') -%}
    case
        when p_value >= alpha then {{ widen }}({{ bound }}, 0)
        when {{ faces_zero }} then {{ narrow }}({{ bound }}, 0)
        else {{ bound }}
    end
{%- endmacro %}
