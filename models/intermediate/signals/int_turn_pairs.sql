{{ config(enabled=evalhouse.has_input('traces')) }}
with turns as (
    select * from {{ ref('evalhouse', 'int_session_turns') }}
),
p as (
    select trace_id, lead(trace_id) over w as next_trace_id, lead(started_at) over w as next_started_at, finished_at,
    lower(trim(input_text)) as a, lead(lower(trim(input_text))) over w as b
    from turns
    window w as (partition by session_id order by turn_number)
)
select trace_id, next_trace_id, {{ evalhouse.seconds_between('finished_at', 'next_started_at') }} as next_gap_seconds,
    cast(null as {{ evalhouse.type_double() }}) as next_similarity, a = b as is_next_equal,
    substring(a, 1, 10) = substring(b, 1, 10) and a <> b as is_next_rephrase, false as is_next_acknowledgement
from p
