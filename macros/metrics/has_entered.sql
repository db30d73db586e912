{#- Whether a unit's entry is among those that are kept (int_unit_baselines): one that came from beyond the lookback is
    not. After a left join, and so that it stays one: of an inner join of three columns Postgres expects a single row,
    and loops over the next table. -#}
{% macro has_entered() -%}
    coalesce(baselines.unit_id, '') <> ''
{%- endmacro %}
