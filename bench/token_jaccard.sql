-- The least that comparing each turn with the one before can cost: split both into words, share of common words, 0.5.
with texts as (
    select
        trace_id,
        session_id,
        started_at,
        list_distinct(string_split(lower(input_text), ' ')) as words
    from raw.traces
),

pairs as (
    select
        trace_id,
        words,
        lag(words) over (partition by session_id order by started_at, trace_id) as previous_words
    from texts
),

compared as (
    select
        trace_id,
        len(words) as own_words,
        len(previous_words) as words_before,
        len(list_intersect(words, previous_words)) as common_words
    from pairs
)

select
    trace_id,
    common_words >= 0.5 * (own_words + words_before - common_words) as is_rephrased
from compared
