{#- The texts are words between single spaces. Null where nothing is shared, or where a text is null; each word once. -#}
{% macro shared_words(first_text, second_text, ends=false) -%}
    {{ return(adapter.dispatch('shared_words', 'evalhouse')(first_text, second_text, ends)) }}
{%- endmacro %}

{% macro default__shared_words(first_text, second_text, ends) -%}
    {%- set lists = [] -%}
    {%- for text in [first_text, second_text] -%}
        {%- set words = "split(" ~ text ~ ", ' ')" -%}
        {%- if ends -%}
            {%- do lists.append(
                "concat(transform(" ~ words ~ ", w -> concat('^', left(w, 3))), "
                ~ "transform(" ~ words ~ ", w -> concat('$', right(w, 3))))"
            ) -%}
        {%- else -%}
            {%- do lists.append(words) -%}
        {%- endif -%}
    {%- endfor -%}
    nullif(array_join(array_intersect({{ lists[0] }}, {{ lists[1] }}), ' '), '')
{%- endmacro %}

{% macro duckdb__shared_words(first_text, second_text, ends) -%}
    {%- set lists = [] -%}
    {%- for text in [first_text, second_text] -%}
        {%- set words = "string_split(" ~ text ~ ", ' ')" -%}
        {%- if ends -%}
            {%- do lists.append(
                "list_concat(list_transform(" ~ words ~ ", lambda w: '^' || left(w, 3)), "
                ~ "list_transform(" ~ words ~ ", lambda w: '$' || right(w, 3)))"
            ) -%}
        {%- else -%}
            {%- do lists.append(words) -%}
        {%- endif -%}
    {%- endfor -%}
    nullif(array_to_string(list_intersect({{ lists[0] }}, {{ lists[1] }}), ' '), '')
{%- endmacro %}

{% macro postgres__shared_words(first_text, second_text, ends) -%}
    {%- set tables = [] -%}
    {%- for text in [first_text, second_text] -%}
        {%- set words = "unnest(string_to_array(" ~ text ~ ", ' ')) as w" -%}
        {%- if ends -%}
            {%- do tables.append(
                "(select '^' || left(w, 3) as v from " ~ words ~ " union all select '$' || right(w, 3) from " ~ words ~ ")"
            ) -%}
        {%- else -%}
            {%- do tables.append("(select w as v from " ~ words ~ ")") -%}
        {%- endif -%}
    {%- endfor -%}
    (select string_agg(v, ' ') from ({{ tables[0] }} intersect {{ tables[1] }}) as shared)
{%- endmacro %}
