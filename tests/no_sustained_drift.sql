-- Warns while what goes in or comes out has moved and stays so. That is no verdict: quality may be as it was.
{{ config(severity='warn') }}

with summary as (
    select * from {{ ref('evalhouse', 'drift_summary') }}
),

newest as (
    select
        *,
        max(window_start) over (partition by monitor_name) as newest_window
    from summary
)

select *
from newest
where window_start = newest_window and is_sustained and feature_kind <> 'performance'
