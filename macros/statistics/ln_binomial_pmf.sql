{#- Loader's form: the rests of three factorials and the deviance of the two counts from their expected values. -#}
{% macro ln_binomial_pmf(k, n, p) -%}
    {%- set a = evalhouse._double(k) -%}
    {%- set m = evalhouse._double(n) -%}
    {%- set q = evalhouse._double(p) -%}
    {%- set left = '(' ~ m ~ ' - ' ~ a ~ ')' -%}
    {%- set difference = '(' ~ a ~ ' - ' ~ m ~ ' * ' ~ q ~ ')' -%}
    (case
        when {{ a }} is null or {{ m }} is null or {{ q }} is null then null
        when {{ m }} < 0 or {{ m }} > 1e15 or {{ q }} < 0 or {{ q }} > 1 then null
        when {{ a }} <> floor({{ a }}) or {{ m }} <> floor({{ m }}) then null
        when {{ a }} < 0 or {{ a }} > {{ m }} then -1e5
        when {{ q }} < 1e-290 then case when {{ a }} = 0 then 0e0 else -1e5 end
        when {{ q }} = 1 then case when {{ left }} = 0 then 0e0 else -1e5 end
        when {{ m }} = 0 then 0e0
        else {{ evalhouse._ln_factorial_rest(m) }}
            - {{ evalhouse._ln_factorial_rest(a) }}
            - {{ evalhouse._ln_factorial_rest(left) }}
            - {{ evalhouse._deviance(a, '(' ~ difference ~ ' / (' ~ m ~ ' * ' ~ q ~ '))') }}
            - {{ evalhouse._deviance(left, '(-' ~ difference ~ ' / (' ~ m ~ ' * (1e0 - ' ~ q ~ ')))') }}
    end)
{%- endmacro %}
