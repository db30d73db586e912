{#-
    How long each window waits for labels. The horizon is the least step of lag within which nine in ten of the
    reference's labels come, among those that can be known one horizon after the window's end. It is therefore settled
    by then, whatever comes later. Labels that take longer count on neither side, so that a window is never
    compared by its quick labels with a reference that has all of them.
-#}
{%- set double = evalhouse.type_double() -%}
{%- set key = 'monitor_name, measure_name, window_start' %}

with slice_sums as (
    select * from {{ ref('evalhouse', 'int_drift_slice_sums') }}
),

window_days as (
    select * from {{ ref('evalhouse', 'int_drift_window_days') }}
),

windows as (
    select * from {{ ref('evalhouse', 'int_drift_windows') }}
),

newest as (
    select
        monitor_name,
        measure_name,
        max(newest_labelled_at) as newest_labelled_at
    from slice_sums
    where segment_name = 'all'
    group by monitor_name, measure_name
),

day_steps as (
    select
        monitor_name,
        measure_name,
        row_date,
        label_step,
        sum(rows_sum) as labels
    from slice_sums
    where segment_name = 'all' and label_step > 0
    group by monitor_name, measure_name, row_date, label_step
),

-- Hours from the end of a block of the reference to the end of the window: a label of the block with a lag up to that,
-- and the horizon on top, has come one horizon after the window's end.
blocks as (
    select
        windows.monitor_name,
        windows.window_start,
        window_days.row_date,
        case windows.reference_kind
            when 'training' then 1000000
            when 'fixed' then 24 * {{ dbt.datediff('windows.reference_end', 'windows.window_end', 'day') }}
            else 24 * ({{ dbt.datediff('window_days.row_date', 'windows.window_end', 'day') }} - 1)
        end as slack_hours
    from windows
    inner join window_days
        on windows.monitor_name = window_days.monitor_name
        and windows.window_start = window_days.window_start
    where window_days.is_reference
),

slack_steps as (
    select
        day_steps.monitor_name,
        day_steps.measure_name,
        blocks.window_start,
        day_steps.label_step,
        blocks.slack_hours,
        sum(day_steps.labels) as labels
    from blocks
    inner join day_steps
        on blocks.monitor_name = day_steps.monitor_name
        and blocks.row_date = day_steps.row_date
    group by
        day_steps.monitor_name,
        day_steps.measure_name,
        blocks.window_start,
        day_steps.label_step,
        blocks.slack_hours
),

candidates as (
    select distinct
        {{ key }},
        label_step as horizon_hours
    from slack_steps
),

known_by_then as (
    select
        {{ evalhouse.qualified('candidates', key) }},
        candidates.horizon_hours,
        sum(case when slack_steps.label_step <= candidates.horizon_hours then slack_steps.labels else 0 end) as in_time,
        sum(
            case
                when slack_steps.label_step <= candidates.horizon_hours + slack_steps.slack_hours
                    then slack_steps.labels
                else 0
            end
        ) as known
    from candidates
    inner join slack_steps
        on {{ evalhouse.joined('candidates', 'slack_steps', key) }}
    group by {{ evalhouse.qualified('candidates', key) }}, candidates.horizon_hours
),

horizons as (
    select
        {{ key }},
        min(horizon_hours) as horizon_hours
    from known_by_then
    where in_time >= cast(0.9 as {{ double }}) * known
    group by {{ key }}
)

select
    {{ evalhouse.qualified('horizons', key) }},
    horizons.horizon_hours,
    newest.newest_labelled_at,
    {{ evalhouse.time_added('hour', '-horizons.horizon_hours', 'newest.newest_labelled_at') }} as labels_complete_to
from horizons
inner join newest
    on horizons.monitor_name = newest.monitor_name
    and horizons.measure_name = newest.measure_name
