{% macro exp_safe(x) -%}
    {%- set value = evalhouse._double(x) -%}
    (case
        when {{ value }} < -6.90775527898213706e2 then 1e-300
        when {{ value }} > 7e2 then 1.0142320547350045e304
        else exp({{ value }})
    end)
{%- endmacro %}
