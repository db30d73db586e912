{#-
    Reference against window for every feature that is a number: where both stand at the reference's deciles, and how
    far apart the two distributions are. The k-th decile is the ceil(n k / 10)-th smallest value of the reference.
-#}
{%- set key = 'feature_number, segment_name, segment_value, window_start' %}

with drift_values as (
    select * from {{ ref('evalhouse', 'int_drift_values') }}
    where number_value is not null
),

window_days as (
    select * from {{ ref('evalhouse', 'int_drift_window_days') }}
),

-- Where both sides are one day each, a value is there at most twice already: to group again would cost as much as the
-- sort that follows.
points as (
    select
        drift_values.feature_number,
        drift_values.segment_name,
        drift_values.segment_value,
        window_days.window_start,
        drift_values.number_value,
        case when window_days.is_reference then drift_values.row_count else 0e0 end as reference_rows,
        case when window_days.is_reference then 0e0 else drift_values.row_count end as window_rows
    from drift_values
    inner join window_days
        on drift_values.monitor_name = window_days.monitor_name
        and drift_values.row_date = window_days.row_date
    where drift_values.monitor_name in ({{ evalhouse.drift_monitor_names(one_day=true) }})

    union all

    select
        drift_values.feature_number,
        drift_values.segment_name,
        drift_values.segment_value,
        window_days.window_start,
        drift_values.number_value,
        sum(case when window_days.is_reference then drift_values.row_count else 0e0 end) as reference_rows,
        sum(case when window_days.is_reference then 0e0 else drift_values.row_count end) as window_rows
    from drift_values
    inner join window_days
        on drift_values.monitor_name = window_days.monitor_name
        and drift_values.row_date = window_days.row_date
    where drift_values.monitor_name in ({{ evalhouse.drift_monitor_names(one_day=false) }})
    group by
        drift_values.feature_number,
        drift_values.segment_name,
        drift_values.segment_value,
        window_days.window_start,
        drift_values.number_value
),

totals as (
    select
        {{ key }},
        sum(reference_rows) as reference_n,
        sum(window_rows) as window_n,
        min(number_value) as least_value
    from points
    group by {{ key }}
),

-- Up to a value and all that are equal to it.
running as (
    select
        {{ key }},
        number_value,
        reference_rows,
        sum(reference_rows) over (
            partition by {{ key }} order by number_value range between unbounded preceding and current row
        ) as reference_below,
        sum(window_rows) over (
            partition by {{ key }} order by number_value range between unbounded preceding and current row
        ) as window_below,
        lead(number_value) over (partition by {{ key }} order by number_value) - number_value as step
    from points
),

curves as (
    select
        {{ evalhouse.qualified('running', key) }},
        totals.reference_n,
        totals.window_n,
        running.number_value,
        running.reference_rows,
        -- From the least value, so that values far from zero keep their digits.
        running.number_value - totals.least_value as distance,
        running.step,
        running.reference_below,
        running.window_below,
        abs(
            running.reference_below / nullif(totals.reference_n, 0) - running.window_below / nullif(totals.window_n, 0)
        ) as gap
    from running
    inner join totals
        on running.feature_number = totals.feature_number
        and running.segment_name = totals.segment_name
        and running.segment_value = totals.segment_value
        and running.window_start = totals.window_start
),

statistics as (
    select
        {{ key }},
        max(reference_n) as reference_n,
        max(window_n) as window_n,
        max(gap) as ks_statistic,
        sum(gap * step) as area_between,
        sum(reference_rows * distance) as sum_of_distances,
        sum(reference_rows * distance * distance) as sum_of_squares
        {%- for k in range(1, 10) %},
        min(case when reference_below >= ceil(reference_n * {{ k }} / 1e1) then number_value end) as edge_{{ k }},
        min(case when reference_below >= ceil(reference_n * {{ k }} / 1e1) then reference_below end)
            as reference_below_{{ k }},
        min(case when reference_below >= ceil(reference_n * {{ k }} / 1e1) then window_below end)
            as window_below_{{ k }}
        {%- endfor %}
    from curves
    group by {{ key }}
)

select
    *,
    sqrt(greatest(
        coalesce(sum_of_squares / nullif(reference_n, 0) - power(sum_of_distances / nullif(reference_n, 0), 2), 0), 0
    )) as reference_sd
from statistics
