{#- Turns in which the user repeats the previous one, and how many such turns came in a row by then. -#}

with turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

repeats as (
    select
        trace_id,
        session_id,
        turn_number,
        -- Constant within a run of repeats without a gap.
        turn_number - row_number() over (partition by session_id order by turn_number) as run_number
    from turns
    where repeats_previous
)

select
    trace_id,
    row_number() over (partition by session_id, run_number order by turn_number) as repeats_in_a_row
from repeats
