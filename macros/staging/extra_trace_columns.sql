{#- What `turns` carries besides the columns of the contract: the configured dimensions that the traces table has, and
    the columns that some metric over turns mentions. {dimensions, others}: names; others as the table spells them. -#}
{% macro extra_trace_columns() -%}
    {%- set known = evalhouse.trace_columns().keys() | list + evalhouse.turn_signal_columns() -%}
    {%- set dimensions = evalhouse.trace_dimensions() | map(attribute='name') | reject('in', known) | list -%}
    {%- set taken = known + dimensions | map('lower') | list -%}
    {%- set mentioned = evalhouse.columns_used_by_metrics('turns', evalhouse.raw_columns('traces'), taken) -%}
    {{ return({'dimensions': dimensions, 'others': mentioned}) }}
{%- endmacro %}
