{#- An amount that cannot be negative, null where it is or where it is no usable number; `otherwise` where it is not
    given. -#}
{% macro sound_amount(column, otherwise='null') -%}
    case
        when {{ column }} between 0 and 1e35 then {{ column }}
        when {{ column }} is null then {{ otherwise }}
    end
{%- endmacro %}
