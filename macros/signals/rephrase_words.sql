{#-
    CTEs that take the texts of `source` (its column `text`) apart into words, once per text: the last one is called
    `text_words`. `columns` pass through; texts of any length cost the same memory, their first 2,000 characters.
    docs/rephrase.md has the definition in words.
-#}
{% macro rephrase_words(source, columns) -%}
    {%- set spaceless =
        '\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3' -%}
    {%- set separator =
        '[^a-z0-9\u00c0-\u1fff\u2c00-\u2dff\u3040-\ud7ff\uf900-\ufdff\ufe70-\ufeff'
        ~ '\U00010000-\U0001efff\U00020000-\U0003ffff]+' -%}
    {#- Letters, digits, spaces, the punctuation of plain sentences: what is left tells "c++" from "c#". -#}
    {%- set unremarkable =
        '[a-z0-9\u00c0-\u1fff\u2c00-\u2dff\u3040-\ud7ff\uf900-\ufdff\ufe70-\ufeff'
        ~ '\U00010000-\U0001efff\U00020000-\U0003ffff\u0009-\u0020.,;:?!"`'
        ~ "''" ~ '\u00a0\u00a1\u00ab\u00bb\u00bf\u2010-\u201f\u2026\u3000-\u300f\uff01\uff0c\uff1f]+' -%}
    {%- set letters_in_pairs = '([' ~ spaceless ~ '][' ~ spaceless ~ '])' -%}
    {%- set pass_through -%}
        {%- for column in columns %}
            {{ column }},
        {%- endfor %}
    {%- endset -%}
    text_lowered as {{ evalhouse.materialized() }} (
        select
            {{- pass_through }}
            case when length(text) > 2000 then {{ dbt.hash('substring(text, 2001)') }} else '' end as rest_hash,
            ' ' || lower(left(text, 2000)) || ' ' as lowered
        from {{ source }}
    ),

    text_plain as {{ evalhouse.materialized() }} (
        select
            {{- pass_through }}
            rest_hash,
            lowered,
            {{ evalhouse.replace_pattern('lowered', '[^\u0009-~]+', '') }} = lowered as is_plain
        from text_lowered
    ),

    {#- Most texts of most products are ASCII: only the others pay for their letters. -#}
    text_separated as {{ evalhouse.materialized() }} (
        select
            {{- pass_through }}
            rest_hash,
            lowered,
            is_plain,
            {{ evalhouse.replace_pattern(
                'case when is_plain then lowered else '
                ~ evalhouse.replace_pattern(evalhouse.fold_letters('lowered'), '[\u0300-\u036f]+', '') ~ ' end',
                separator, ' '
            ) }} as separated
        from text_plain
    ),

    {#- Where a script has no spaces between words, a run of its letters stands apart. -#}
    text_runs as {{ evalhouse.materialized() }} (
        select
            {{- pass_through }}
            rest_hash,
            lowered,
            case
                when is_plain then separated
                else {{ evalhouse.replace_pattern('separated', '([' ~ spaceless ~ ']+)', ' \\1 ') }}
            end as runs,
            separated
        from text_separated
    ),

    {#- Its words are its pairs of neighbouring letters: those from odd places on, then those from even ones. -#}
    text_in_order as {{ evalhouse.materialized() }} (
        select
            {{- pass_through }}
            rest_hash,
            case
                when runs = separated then separated
                else {{ evalhouse.replace_pattern(
                    evalhouse.replace_pattern('runs', letters_in_pairs, ' \\1 ')
                    ~ ' || ' ~ evalhouse.replace_pattern(
                        evalhouse.replace_pattern('runs', '([^' ~ spaceless ~ '])[' ~ spaceless ~ ']', '\\1'),
                        letters_in_pairs, ' \\1 '
                    ),
                    ' +', ' '
                ) }}
            end as words_in_order,
            {#- A text without words ("???") is what it is. -#}
            case
                when separated = ' ' then trim(lowered)
                else separated || {{ evalhouse.replace_pattern('lowered', unremarkable, '') }}
            end as text_key
        from text_runs
    ),

    {#- Without the words that point back, each word once. -#}
    text_kept as {{ evalhouse.materialized() }} (
        select
            {{- pass_through }}
            rest_hash,
            text_key,
            words_in_order,
            {{ evalhouse.replace_pattern(
                'words_in_order', ' (?:(?:' ~ evalhouse.pointing_words() | join('|') ~ ') )+', ' '
            ) }} as kept
        from text_in_order
    ),

    text_set as {{ evalhouse.materialized() }} (
        select
            {{- pass_through }}
            rest_hash,
            text_key,
            words_in_order,
            case
                when words_in_order <> ' '
                    then replace(' ' || {{ evalhouse.shared_words('trim(kept)') }} || ' ', '  ', ' ')
            end as words
        from text_kept
    ),

    text_words as {{ evalhouse.materialized() }} (
        select
            {{- pass_through }}
            rest_hash,
            text_key,
            words_in_order,
            words,
            {{ evalhouse.without_function_words('words') }} as content
        from text_set
    )
{%- endmacro %}
