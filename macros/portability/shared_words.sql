{#- The texts are words between single spaces; without a second one, the words of the first. Each word once, in any
    order; empty where there is none. Neither text may be null.
    `ends` compares the first and the last three letters of words. -#}
{% macro shared_words(first_text, second_text=none, ends=false) -%}
    {{ return(adapter.dispatch('shared_words', 'evalhouse')(first_text, second_text, ends)) }}
{%- endmacro %}

{% macro default__shared_words(first_text, second_text, ends) -%}
    {%- set lists = [] -%}
    {%- for text in [first_text, second_text] if text is not none -%}
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
    array_join(array_{{ 'distinct' if second_text is none else 'intersect' }}({{ lists | join(', ') }}), ' ')
{%- endmacro %}

{% macro duckdb__shared_words(first_text, second_text, ends) -%}
    {%- set lists = [] -%}
    {%- for text in [first_text, second_text] if text is not none -%}
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
    array_to_string(list_{{ 'distinct' if second_text is none else 'intersect' }}({{ lists | join(', ') }}), ' ')
{%- endmacro %}

{% macro postgres__shared_words(first_text, second_text, ends) -%}
    {%- set tables = [] -%}
    {%- for text in [first_text, second_text] if text is not none -%}
        {%- set words = "unnest(string_to_array(" ~ text ~ ", ' ')) as w" -%}
        {%- if ends -%}
            {%- do tables.append(
                "(select '^' || left(w, 3) as v from " ~ words
                ~ " union all select '$' || right(w, 3) from " ~ words ~ ")"
            ) -%}
        {%- else -%}
            {%- do tables.append("(select w as v from " ~ words ~ ")") -%}
        {%- endif -%}
    {%- endfor -%}
    (select coalesce(string_agg(distinct v, ' '), '') from ({{ tables | join(' intersect ') }}) as shared)
{%- endmacro %}

{% macro snowflake__shared_words(first_text, second_text, ends) -%}
    {%- set lists = [] -%}
    {%- for text in [first_text, second_text] if text is not none -%}
        {%- set words = "split(" ~ text ~ ", ' ')" -%}
        {%- if ends -%}
            {%- do lists.append(
                "array_cat(transform(" ~ words ~ ", w -> '^' || left(cast(w as varchar), 3)), "
                ~ "transform(" ~ words ~ ", w -> '$' || right(cast(w as varchar), 3)))"
            ) -%}
        {%- else -%}
            {%- do lists.append(words) -%}
        {%- endif -%}
    {%- endfor -%}
    array_to_string(
        array_distinct({{ lists[0] if second_text is none else 'array_intersection(' ~ lists | join(', ') ~ ')' }}), ' '
    )
{%- endmacro %}

{% macro bigquery__shared_words(first_text, second_text, ends) -%}
    {%- set lists = [] -%}
    {%- for text in [first_text, second_text] if text is not none -%}
        {%- set words = "split(" ~ text ~ ", ' ')" -%}
        {%- if ends -%}
            {%- do lists.append(
                "array_concat(array(select '^' || left(w, 3) from unnest(" ~ words ~ ") as w), "
                ~ "array(select '$' || right(w, 3) from unnest(" ~ words ~ ") as w))"
            ) -%}
        {%- else -%}
            {%- do lists.append(words) -%}
        {%- endif -%}
    {%- endfor -%}
    (
        select coalesce(string_agg(distinct v, ' '), '')
        from unnest({{ lists[0] }}) as v
        {{ 'where v in unnest(' ~ lists[1] ~ ')' if second_text is not none }}
    )
{%- endmacro %}

{#- An array becomes text as JSON: words have neither quotes nor commas. The ends of words are cut by patterns, because
    there are no functions of functions. -#}
{% macro redshift__shared_words(first_text, second_text, ends) -%}
    {%- set lists = [] -%}
    {%- for text in [first_text, second_text] if text is not none -%}
        {%- if ends -%}
            {%- do lists.append(
                "split_to_array(regexp_replace(" ~ text ~ ", '([^ ]{1,3})[^ ]*', '^$1', 1, 'p') || ' ' || "
                ~ "regexp_replace(" ~ text ~ ", '[^ ]*?([^ ]{1,3})(?= |$)', '#$1', 1, 'p'), ' ')"
            ) -%}
        {%- else -%}
            {%- do lists.append("split_to_array(" ~ text ~ ", ' ')") -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set shared = 'array_distinct(' ~ lists[0] ~ ')' if second_text is none
        else 'array_intersection(' ~ lists | join(', ') ~ ', true)' -%}
    replace(trim(json_serialize({{ shared }}), '[]"'), '","', ' ')
{%- endmacro %}
