{#- Upper limit of a share whose relative entropy from the observed `share` is `entropy`, as log-odds: a first guess
    from the Poisson limits of either side. -#}
{% macro bernoulli_upper_bound_guess(share, entropy) -%}
    {%- set other = '(1e0 - ' ~ share ~ ')' -%}
    {%- set per_event = '(' ~ entropy ~ ' / ' ~ share ~ ')' -%}
    {%- set per_other = '(' ~ entropy ~ ' / ' ~ other ~ ')' -%}
    {%- set by_events = share ~ ' * (1e0 + ' ~ per_event ~ ' + sqrt(2e0 * ' ~ per_event ~ '))' -%}
    {%- set by_others = '1e0 - ' ~ other ~ ' * exp(-sqrt(2e0 * ' ~ per_other ~ ') - ' ~ per_other ~ ' / 3e0)' -%}
    (
        case
            when {{ by_events }} < {{ by_others }} then ln(({{ by_events }}) / (1e0 - {{ by_events }}))
            else sqrt(2e0 * {{ per_other }}) + {{ per_other }} / 3e0
                + ln(({{ by_others }}) / {{ other }})
        end
    )
{%- endmacro %}

{#- One Newton step on the log-odds: the relative entropy is convex in them, so the steps do not swing. -#}
{% macro bernoulli_upper_bound_refine(log_odds, share, entropy) -%}
    {%- set p = '(1e0 / (1e0 + exp(-' ~ log_odds ~ ')))' -%}
    (
        {{ log_odds }} - (
            {{ share }} * ln({{ share }} * (1e0 + exp(-{{ log_odds }})))
            + (1e0 - {{ share }}) * (ln((1e0 - {{ share }}) * (1e0 + exp(-{{ log_odds }}))) + {{ log_odds }})
            - {{ entropy }}
        ) / nullif({{ p }} - {{ share }}, 0)
    )
{%- endmacro %}
