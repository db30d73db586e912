-- Warns, or fails with `analysis: {quality_drift: error}`, while quality has got worse and stays so.
{{ config(severity=evalhouse.settings().analysis.quality_drift) }}

with summary as (
    select * from {{ ref('evalhouse', 'drift_summary') }}
),

-- The newest windows that can be judged: later ones may still wait for their labels. One quiet day among them is no end.
judged as (
    select
        *,
        row_number() over (
            partition by monitor_name, feature_name, segment_name, segment_value order by window_start desc
        ) as place
    from summary
    where feature_kind = 'performance' and status <> 'insufficient'
)

select *
from judged
where place <= 3 and is_sustained and status = 'alert'
