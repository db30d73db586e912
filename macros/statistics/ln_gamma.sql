{% macro ln_gamma(x) -%}
    {%- set value = evalhouse._double(x) -%}
    {%- set shifted = '(' ~ value ~ ' + 8e0)' -%}
    (case
        when {{ value }} <= 0 or {{ value }} > 1e300 then null
        when {{ value }} < 8e0
            then ({{ shifted }} - 5e-1) * ln({{ shifted }}) - {{ shifted }} + 9.1893853320467274e-1
            + {{ evalhouse._stirling_series(shifted) }}
            - ln({{ value }}{% for i in range(1, 8) %} * ({{ value }} + {{ i }}e0){% endfor %})
        when {{ value }} < 1e10
            then ({{ value }} - 5e-1) * ln({{ value }}) - {{ value }} + 9.1893853320467274e-1
            + {{ evalhouse._stirling_series(value) }}
        else ({{ value }} - 5e-1) * ln({{ value }}) - {{ value }} + 9.1893853320467274e-1
    end)
{%- endmacro %}

{#- 1 / (12 z) - 1 / (360 z^3) + ..., for z from 8 to 1e16. -#}
{% macro _stirling_series(z) -%}
    ({{ evalhouse._polynomial('(1e0 / (' ~ z ~ ' * ' ~ z ~ '))', [
        '8.33333333333333333e-2', '-2.77777777777777778e-3', '7.93650793650793651e-4', '-5.95238095238095238e-4',
        '8.41750841750841751e-4', '-1.91752691752691753e-3'
    ]) }} / {{ z }})
{%- endmacro %}
