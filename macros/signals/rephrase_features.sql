{#-
    CTEs that compare the two texts of each row of `source`, which has `words` and `content` from `rephrase_words`, and
    those of the next text as `next_words` and `next_content`: the last one is called `pair_features`. `columns` pass
    through. Where a text is null or has no word, the features are null.
-#}
{% macro rephrase_features(source, columns) -%}
    {%- set double = evalhouse.type_double() -%}
    {%- set question = ' (?:(?:' ~ evalhouse.question_words() | join('|') ~ ') )+' -%}
    {%- set number = '[^ ]*[0-9][^ ]*' -%}
    {%- set pass_through -%}
        {%- for column in columns %}
            {{ column }},
        {%- endfor %}
    {%- endset -%}
    pair_shared as {{ evalhouse.materialized() }} (
        select
            {{- pass_through }}
            words,
            content,
            next_words,
            next_content,
            case
                when words is not null and next_words is not null
                    then
                        replace(
                            ' ' || {{ evalhouse.shared_words('trim(words)', 'trim(next_words)') }} || ' ', '  ', ' '
                        )
            end as shared
        from {{ source }}
    ),

    pair_shared_content as {{ evalhouse.materialized() }} (
        select
            *,
            {{ evalhouse.without_function_words('shared') }} as shared_content
        from pair_shared
    ),

    pair_counts as {{ evalhouse.materialized() }} (
        select
            *,
            {{ evalhouse.count_of_words('shared') }} as shared_count,
            {{ evalhouse.count_of_words('shared_content') }} as shared_content_count,
            {{ evalhouse.count_of_words('words') }} as word_count,
            {{ evalhouse.count_of_words('content') }} as content_count,
            {{ evalhouse.count_of_words('next_words') }} as next_word_count,
            {{ evalhouse.count_of_words('next_content') }} as next_content_count
        from pair_shared_content
    ),

    pair_frames as {{ evalhouse.materialized() }} (
        select
            *,
            case
                when content_count < next_content_count then content_count else next_content_count
            end as fewer_content,
            word_count - content_count as frame_count,
            next_word_count - next_content_count as next_frame_count,
            shared_count - shared_content_count as shared_frame_count,
            shared_count - shared_content_count = word_count - content_count
            and word_count - content_count = next_word_count - next_content_count as is_same_frame
        from pair_counts
    ),

    {#- The costly comparisons only where they can matter: texts with four words of content and more, none of which they
        share, are not one question with typing errors. -#}
    pair_ends as {{ evalhouse.materialized() }} (
        select
            {{- pass_through }}
            shared,
            shared_count,
            word_count,
            content_count,
            next_content_count,
            fewer_content,
            frame_count,
            next_frame_count,
            shared_frame_count,
            is_same_frame,
            case
                when fewer_content > 0 and (shared_content_count > 0 or fewer_content <= 3)
                    then {{ evalhouse.shared_words('trim(content)', 'trim(next_content)', ends=true) }}
            end as shared_ends,
            case
                when shared_content_count > 0
                    then
                        {{ evalhouse.replace_pattern('words', question, ' ') }} <> words
                        and {{ evalhouse.replace_pattern('next_words', question, ' ') }} <> next_words
                        and {{ evalhouse.replace_pattern('shared', question, ' ') }} = shared
            end as is_question_changed,
            case when is_same_frame then {{ evalhouse.replace_pattern('content', number, '#') }} end as numbers,
            case
                when is_same_frame then {{ evalhouse.replace_pattern('next_content', number, '#') }}
            end as next_numbers,
            case
                when is_same_frame then {{ evalhouse.replace_pattern('shared_content', number, '#') }}
            end as shared_numbers
        from pair_frames
    ),

    pair_sums as {{ evalhouse.materialized() }} (
        select
            *,
            case
                when shared_ends is null or shared_ends = '' then 0
                else length(shared_ends) - length(replace(shared_ends, ' ', '')) + 1
            end as shared_end_count,
            length(numbers) - length(replace(numbers, '#', '')) as number_count,
            length(next_numbers) - length(replace(next_numbers, '#', '')) as next_number_count,
            length(shared_numbers) - length(replace(shared_numbers, '#', '')) as shared_number_count
        from pair_ends
    ),

    {#- Each word of content has two ends. -#}
    pair_ratios as {{ evalhouse.materialized() }} (
        select
            *,
            cast(shared_end_count as {{ double }}) / nullif(content_count + next_content_count, 0) as content_ratio,
            cast(shared_end_count as {{ double }}) / nullif(2 * fewer_content, 0) as contained_ratio,
            cast(shared_frame_count as {{ double }})
            / nullif(frame_count + next_frame_count - shared_frame_count, 0) as frame_ratio,
            cast(shared_count as {{ double }}) / nullif(word_count, 0) as previous_ratio,
            2 * fewer_content - shared_end_count as unshared_end_count
        from pair_sums
    ),

    pair_features as {{ evalhouse.materialized() }} (
        select
            {{- pass_through }}
            case when shared is not null then coalesce(content_ratio, 0) end as content_overlap,
            case when shared is not null then coalesce(contained_ratio, 0) end as content_containment,
            case
                when shared is not null then cast(case when shared_end_count = 0 then 1 else 0 end as {{ double }})
            end as content_disjoint,
            case when shared is not null then coalesce(frame_ratio, content_ratio, 0) end as frame_overlap,
            case when shared is not null then coalesce(previous_ratio, 0) end as previous_contained,
            case
                when not is_same_frame or frame_count = 0 or unshared_end_count <= 0 then cast(0 as {{ double }})
                when unshared_end_count = 1 then 0.5e0 * (1 - coalesce(contained_ratio, 0))
                when unshared_end_count > 1 then 1 - coalesce(contained_ratio, 0)
            end as substitution,
            case
                when shared is not null then cast(case when is_question_changed then 1 else 0 end as {{ double }})
            end as question_changed,
            case
                when shared is null then null
                when number_count > shared_number_count and next_number_count > shared_number_count
                    then cast(1 as {{ double }})
                else cast(0 as {{ double }})
            end as number_changed
        from pair_ratios
    )
{%- endmacro %}
