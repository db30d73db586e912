-- Warns while what goes in or comes out has moved and stays so. That is no verdict: quality may be as it was.
{{ config(severity='warn') }}

with summary as (
    select * from {{ ref('evalhouse', 'drift_summary') }}
),

placed as (
    select
        *,
        row_number() over (
            partition by monitor_name, feature_name, segment_name, segment_value order by window_start desc
        ) as windows_back
    from summary
    where feature_kind <> 'performance'
),

-- A window without rows is no all-clear; after a week of them there is nothing to warn of.
judged as (
    select
        *,
        row_number() over (
            partition by monitor_name, feature_name, segment_name, segment_value order by window_start desc
        ) as place
    from placed
    where status <> 'insufficient' and windows_back <= 7
)

select *
from judged
where place = 1 and is_sustained
