{#- What int_traces keeps of a trace besides its id; columns that only metrics want are quoted, as the table spells
    them. -#}
{% macro kept_trace_columns() -%}
    {%- set extra = evalhouse.extra_trace_columns() -%}
    {%- set columns = evalhouse.trace_columns().keys() | reject('equalto', 'trace_id') | list + extra.dimensions -%}
    {%- for column in extra.others -%}
        {%- do columns.append(adapter.quote(column)) -%}
    {%- endfor -%}
    {{ return(columns) }}
{%- endmacro %}
