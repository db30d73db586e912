-- Did it get worse, or did the inputs move? What was raised, for how long, and what accuracy did on those days:
-- how much of its change comes from the mix of tickets, and how much from the same tickets being routed worse.
with raised as (
    select * from {{ ref('evalhouse', 'drift_summary') }}
    where
        monitor_name = 'routing'
        and segment_name = 'all'
        and status in ('warn', 'alert')
),

changes as (
    select * from {{ ref('evalhouse', 'drift_decomposition') }}
    where
        measure_name = 'accuracy'
        and segment_name = 'all'
        and slice = 'all'
        and status = 'ok'
),

moved as (
    select
        raised.drift_kind,
        raised.feature_name,
        min(raised.window_start) as first_day,
        max(raised.window_start) as last_day,
        count(*) as days,
        max(case when raised.is_sustained then 'yes' else 'no' end) as lasted,
        avg(changes.change) as change,
        avg(changes.mix) as mix,
        avg(changes.within_slices) as within_slices,
        avg(changes.uncovered) as uncovered
    from raised
    left join changes
        on raised.monitor_name = changes.monitor_name
        and raised.window_start = changes.window_start
    group by raised.drift_kind, raised.feature_name
)

select
    drift_kind,
    feature_name,
    first_day,
    last_day,
    days,
    lasted,
    round(cast(100 * change as {{ dbt.type_numeric() }}), 1) as points_of_accuracy,
    round(cast(100 * mix as {{ dbt.type_numeric() }}), 1) as points_from_mix,
    round(cast(100 * within_slices as {{ dbt.type_numeric() }}), 1) as points_within,
    round(cast(100 * uncovered as {{ dbt.type_numeric() }}), 1) as points_of_new_slices
from moved
order by first_day asc, drift_kind asc, feature_name asc
