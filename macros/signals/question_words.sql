{#- Question words that cannot be swapped for another one in the same question: who, when, where, why. -#}
{% macro question_words() -%}
    {%- set words =
        'who whom whose when where why '
        ~ 'wer wen wem wann wo wohin warum wieso weshalb '
        ~ 'qui quand ou pourquoi '
        ~ 'quien quienes cuando donde '
        ~ 'chi quando dove perche '
        ~ 'quem onde '
        ~ 'wanneer waar waarom '
        ~ 'nar varfor hvornar '
        ~ 'kto kiedy gdzie dlaczego '
        ~ 'кто когда где куда почему зачем '
        ~ 'kim nerede nereye neden nicin '
        ~ 'siapa kapan dimana mengapa kenapa '
        ~ 'ποιοσ ποτε που γιατι '
    -%}
    {{ return(words.split()) }}
{%- endmacro %}
