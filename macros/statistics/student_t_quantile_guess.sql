{#-
    Hastings' normal quantile z (Abramowitz and Stegun 26.2.23), then Wallace's transformation solved for t:
    dof ln(1 + t^2 / dof) = (z (8 dof + 3) / (8 dof + 1))^2.
-#}
{% macro student_t_quantile_guess(tail, dof) -%}
    {%- set p = evalhouse._double(tail) -%}
    {%- set v = evalhouse._double(dof) -%}
    {%- set root = 'sqrt(-2e0 * ln(' ~ p ~ '))' -%}
    {%- set z = '(' ~ root ~ ' - '
        ~ evalhouse._polynomial(root, ['2.515517e0', '8.02853e-1', '1.0328e-2']) ~ ' / '
        ~ evalhouse._polynomial(root, ['1e0', '1.432788e0', '1.89269e-1', '1.308e-3']) ~ ')' -%}
    {%- set bounded = 'least(' ~ v ~ ', 1e6)' -%}
    (case
        when {{ p }} is null or {{ v }} is null or {{ p }} <= 0 or {{ p }} > 5e-1 or {{ v }} < 9.99e-1 then null
        else sqrt({{ bounded }} * (exp(least(
            6.2e2,
            power({{ z }} * (1e0 + 2e0 / (8e0 * {{ bounded }} + 1e0)), 2) / {{ bounded }}
        )) - 1e0))
    end)
{%- endmacro %}
