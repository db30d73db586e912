{#- ln(m!) - m ln(m) + m for a whole m >= 0. -#}
{% macro _ln_factorial_rest(m) -%}
    (case {{ m }}
        {%- for value in [
            '0e0', '1e0', '1.3068528194400546e0', '1.4959226032237258e0',
            '1.6328763858683832e0', '1.7403021806115442e0', '1.828694396641771e0', '1.9037903176782212e0',
            '1.9690705693065629e0', '2.0268062840554952e0'
        ] %}
        when {{ loop.index0 }}e0 then {{ value }}
        {%- endfor %}
        else 5e-1 * ln(6.2831853071795865e0 * {{ m }}) + {{ evalhouse._stirling_series(m) }}
    end)
{%- endmacro %}

{#- count * ln(count / expected), given d = count / expected - 1. -#}
{% macro _deviance(count, d) -%}
    (case when {{ count }} = 0 then 0e0 else {{ count }} * {{ evalhouse._ln_one_plus(d) }} end)
{%- endmacro %}
