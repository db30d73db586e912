{% macro kolmogorov_sf(lambda_value) -%}
    {%- set value = evalhouse._double(lambda_value) -%}
    {%- set square = 'power(case when ' ~ value ~ ' > 2e1 then 2e1 else ' ~ value ~ ' end, 2)' -%}
    (case
        when {{ value }} < 1e-1 then 1e0
        when {{ value }} < 1e0
            then 1e0 - 2.5066282746310005e0 / {{ value }} * (
                {%- for i in [1, 3, 5, 7] %}
                {%- set term = '-' ~ i * i ~ 'e0 * 1.2337005501361698e0 / ' ~ square %}
                {{ '+ ' if not loop.first }}{{ evalhouse.exp_safe(term) }}
                {%- endfor %}
            )
        else {{ evalhouse.exp_safe('6.9314718055994531e-1 - 2e0 * ' ~ square) }} * (
            1e0
            - {{ evalhouse.exp_safe('-6e0 * ' ~ square) }}
            + {{ evalhouse.exp_safe('-1.6e1 * ' ~ square) }}
            - {{ evalhouse.exp_safe('-3e1 * ' ~ square) }}
        )
    end)
{%- endmacro %}
