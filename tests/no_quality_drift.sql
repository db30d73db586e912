-- Warns, or fails with `analysis: {quality_drift: error}`, while quality has got worse and stays so.
{{ config(severity=evalhouse.settings().analysis.quality_drift) }}

with summary as (
    select * from {{ ref('evalhouse', 'drift_summary') }}
    where feature_kind = 'performance'
),

-- What has no rows any more is over.
newest as (
    select
        *,
        first_value(status_reason) over (
            partition by monitor_name, feature_name, segment_name, segment_value
            order by window_start desc
            rows between unbounded preceding and current row
        ) as newest_reason
    from summary
),

-- The newest windows that can be judged: later ones may still wait for their labels. A quiet day among them is no end.
judged as (
    select
        *,
        row_number() over (
            partition by monitor_name, feature_name, segment_name, segment_value
            order by window_start desc
            rows between unbounded preceding and current row
        ) as place
    from newest
    where
        status <> 'insufficient'
        and (newest_reason is null or newest_reason not in ('no_window_rows', 'no_reference'))
)

select *
from judged
where place <= 3 and is_sustained and status = 'alert'
