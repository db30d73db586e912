{#- A number as text for people, the same on every engine: how a cast prints a double differs between them. -#}
{% macro readable_number(value) -%}
    (case
        when {{ value }} is null then 'unknown'
        when abs({{ value }}) >= 1e28 then 'beyond 1e28'
        when abs({{ value }}) >= 1e3 then cast(cast({{ value }} as decimal(29, 0)) as {{ dbt.type_string() }})
        when abs({{ value }}) >= 1 then cast(cast({{ value }} as decimal(18, 2)) as {{ dbt.type_string() }})
        when abs({{ value }}) >= 1e-2 then cast(cast({{ value }} as decimal(18, 4)) as {{ dbt.type_string() }})
        else cast(cast({{ value }} as decimal(18, 8)) as {{ dbt.type_string() }})
    end)
{%- endmacro %}
