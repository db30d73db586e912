{#- Standard errors by which the limit of a one-sided confidence sequence lies from the estimate (Waudby-Smith et al.,
    normal mixture): valid at every look, tightest near `tuning` units. -#}
{% macro one_sided_sequence(units, error, tuning) -%}
    {%- set scale = '((-2e0 * ln(2e0 * ' ~ error ~ ') + ln(1e0 - 2e0 * ln(2e0 * ' ~ error ~ '))) / ' ~ tuning ~ ' * '
        ~ units ~ ')' -%}
    sqrt(2e0 * ({{ scale }} + 1e0) / {{ scale }} * ln(1e0 + sqrt({{ scale }} + 1e0) / (2e0 * {{ error }})))
{%- endmacro %}
