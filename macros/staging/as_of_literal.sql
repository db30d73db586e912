{#- The configured `analysis.as_of` as a timestamp literal, or null when the data decides. -#}
{% macro as_of_literal() -%}
    {%- set as_of = evalhouse.settings().analysis.as_of -%}
    cast({{ "'" ~ as_of ~ "'" if as_of else 'null' }} as {{ dbt.type_timestamp() }})
{%- endmacro %}

{#- The date on which the run started (UTC), as a literal. -#}
{% macro run_date() -%}
    cast('{{ run_started_at.strftime("%Y-%m-%d") }}' as date)
{%- endmacro %}
