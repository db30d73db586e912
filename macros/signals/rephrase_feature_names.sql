{#- The features of a pair of texts, in the order in which their terms are added. -#}
{% macro rephrase_feature_names() -%}
    {{ return([
        'content_overlap',
        'content_containment',
        'content_disjoint',
        'frame_overlap',
        'previous_contained',
        'substitution',
        'question_changed',
        'number_changed',
    ]) }}
{%- endmacro %}
