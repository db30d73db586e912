{#- SQL of the user in parentheses; the line break ends a comment that it may end with. -#}
{% macro sql_snippet(sql) -%}
    {{ return('(' ~ sql ~ '\n)') }}
{%- endmacro %}
