{#-
    Loader's form for the 2 x 2 table: every factorial as m^m e^-m times a rest, the powers collected into the deviance
    of the four cells from their expected counts. The differences count - expected are equal up to sign and sum to zero.
-#}
{% macro ln_hypergeometric_pmf(k, events, non_events, draws) -%}
    {%- set a = evalhouse._double(k) -%}
    {%- set r = evalhouse._double(events) -%}
    {%- set s = evalhouse._double(non_events) -%}
    {%- set n = evalhouse._double(draws) -%}
    {%- set all = '(' ~ r ~ ' + ' ~ s ~ ')' -%}
    {%- set left = '(' ~ all ~ ' - ' ~ n ~ ')' -%}
    {%- set difference = '(' ~ a ~ ' * ' ~ all ~ ' - ' ~ r ~ ' * ' ~ n ~ ')' -%}
    (case
        when {{ a }} is null or {{ r }} is null or {{ s }} is null or {{ n }} is null then null
        when {{ r }} < 0 or {{ r }} > 5e14 or {{ s }} < 0 or {{ s }} > 5e14 or {{ n }} < 0 then null
        when {{ n }} > {{ all }} or {{ a }} <> floor({{ a }}) or {{ r }} <> floor({{ r }}) then null
        when {{ s }} <> floor({{ s }}) or {{ n }} <> floor({{ n }}) then null
        when {{ a }} < 0 or {{ a }} > {{ r }} or {{ a }} > {{ n }} or {{ n }} - {{ a }} > {{ s }} then -1e5
        when {{ r }} = 0 or {{ s }} = 0 or {{ n }} = 0 or {{ left }} = 0 then 0e0
        else
            {%- for margin in [r, s, n, left] %}
            {{ '+ ' if not loop.first }}{{ evalhouse._ln_factorial_rest(margin) }}
            {%- endfor %}
            - {{ evalhouse._ln_factorial_rest(all) }}
            {%- for count, expected, sign in [
                (a, r ~ ' * ' ~ n, ''),
                ('(' ~ r ~ ' - ' ~ a ~ ')', r ~ ' * ' ~ left, '-'),
                ('(' ~ n ~ ' - ' ~ a ~ ')', s ~ ' * ' ~ n, '-'),
                ('(' ~ s ~ ' - ' ~ n ~ ' + ' ~ a ~ ')', s ~ ' * ' ~ left, ''),
            ] %}
            - {{ evalhouse._ln_factorial_rest(count) }}
            - {{ evalhouse._deviance(count, '(' ~ sign ~ difference ~ ' / (' ~ expected ~ '))') }}
            {%- endfor %}
    end)
{%- endmacro %}
