{#- A health check's status by its p-value: below the threshold it fails, within ten times the threshold it warns. -#}
{% macro status_of_test(p_value, threshold) -%}
    case
        when {{ p_value }} is null then 'insufficient'
        when {{ p_value }} < {{ threshold }} then 'fail'
        when {{ p_value }} < 10 * {{ threshold }} then 'warn'
        else 'pass'
    end
{%- endmacro %}
