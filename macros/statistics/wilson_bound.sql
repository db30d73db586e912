{#- Wilson score bound of a share: sign '-' for the lower, '+' for the upper. -#}
{% macro wilson_bound(share, units, z, sign) -%}
    (
        ({{ share }} + {{ z }} * {{ z }} / (2 * {{ units }})
        {{ sign }} {{ z }} * sqrt(
            {{ share }} * (1 - {{ share }}) / {{ units }} + {{ z }} * {{ z }} / (4 * {{ units }} * {{ units }})
        ))
        / (1 + {{ z }} * {{ z }} / {{ units }})
    )
{%- endmacro %}
