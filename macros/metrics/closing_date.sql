{#- The date at whose end a time has passed: its own, or the one before where it is midnight. -#}
{% macro closing_date(time) -%}
    cast(case
        when {{ time }} = cast(cast({{ time }} as date) as {{ dbt.type_timestamp() }})
            then {{ evalhouse.time_added('day', -1, time) }}
        else {{ time }}
    end as date)
{%- endmacro %}
