{#-
    CTEs that take the texts of `source` (its column `text`, any others pass through) apart into words, once per text:
    the last one is called `text_words`. docs/rephrase.md has the definition in words.
-#}
{% macro rephrase_words(source) -%}
    {%- set spaceless =
        '\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3' -%}
    {%- set separator =
        '[^a-z0-9\u00c0-\u1fff\u2c00-\u2dff\u3040-\ud7ff\uf900-\ufdff\ufe70-\ufeff'
        ~ '\U00010000-\U0001efff\U00020000-\U0003ffff]+' -%}
    text_lowered as {{ evalhouse.materialized() }} (
        select
            *,
            lower(left(text, 2000)) as lowered,
            case when length(text) > 2000 then md5(substring(text, 2001)) else '' end as rest_hash
        from {{ source }}
    ),

    {#- Most texts of most products are ASCII: only the others pay for their letters. -#}
    text_folded as {{ evalhouse.materialized() }} (
        select
            *,
            case
                when length({{ evalhouse.replace_pattern('lowered', '[^ -~]+', '') }}) = length(lowered) then lowered
                else {{ evalhouse.replace_pattern(evalhouse.fold_letters('lowered'), '[\u0300-\u036f]+', '') }}
            end as folded
        from text_lowered
    ),

    text_separated as {{ evalhouse.materialized() }} (
        select
            *,
            {{ evalhouse.replace_pattern("' ' || folded || ' '", separator, ' ') }} as separated
        from text_folded
    ),

    {#- Where a script has no spaces between words, a run of its letters stands apart. -#}
    text_runs as {{ evalhouse.materialized() }} (
        select
            *,
            case
                when length({{ evalhouse.replace_pattern('separated', '[a-z0-9 ]+', '') }}) > 0
                    then {{ evalhouse.replace_pattern('separated', '([' ~ spaceless ~ ']+)', ' \\1 ') }}
                else separated
            end as runs
        from text_separated
    ),

    {#- Its words are its pairs of neighbouring letters: those that begin at an odd place, then those at an even one. -#}
    text_in_order as {{ evalhouse.materialized() }} (
        select
            *,
            case
                when runs = separated then separated
                else {{ evalhouse.replace_pattern(
                    evalhouse.replace_pattern('runs', '([' ~ spaceless ~ '][' ~ spaceless ~ '])', ' \\1 ')
                    ~ ' || ' ~ evalhouse.replace_pattern(
                        evalhouse.replace_pattern('runs', '([^' ~ spaceless ~ '])[' ~ spaceless ~ ']', '\\1'),
                        '([' ~ spaceless ~ '][' ~ spaceless ~ '])', ' \\1 '
                    ),
                    ' +', ' '
                ) }}
            end as words_in_order
        from text_runs
    ),

    {#- Without the words that point back, each word once. -#}
    text_distinct as {{ evalhouse.materialized() }} (
        select
            *,
            trim({{ evalhouse.replace_pattern(
                'words_in_order', ' (?:(?:' ~ evalhouse.pointing_words() | join('|') ~ ') )+', ' '
            ) }}) as kept
        from text_in_order
    ),

    text_set as {{ evalhouse.materialized() }} (
        select
            *,
            ' ' || coalesce({{ evalhouse.shared_words('kept', 'kept') }} || ' ', '') as words
        from text_distinct
    ),

    text_content as {{ evalhouse.materialized() }} (
        select
            *,
            {{ evalhouse.without_function_words('words') }} as content
        from text_set
    ),

    text_words as {{ evalhouse.materialized() }} (
        select
            *,
            {{ evalhouse.count_of_words('words') }} as word_count,
            {{ evalhouse.count_of_words('content') }} as content_count
        from text_content
    )
{%- endmacro %}
