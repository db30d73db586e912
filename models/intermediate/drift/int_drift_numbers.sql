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

-- One number to sort by: with four columns in its place the windows below take twice as long.
comparisons as {{ evalhouse.materialized() }} (
    select
        *,
        row_number() over (order by {{ key }}) as comparison_number
    from totals
),

numbered_points as (
    select
        comparisons.comparison_number,
        points.number_value,
        points.reference_rows,
        points.window_rows
    from points
    inner join comparisons on {{ evalhouse.joined('points', 'comparisons', key) }}
),

-- Up to a value and all that are equal to it.
running as (
    select
        comparison_number,
        number_value,
        reference_rows,
        sum(reference_rows) over (
            partition by comparison_number order by number_value
            range between unbounded preceding and current row
        ) as reference_below,
        sum(window_rows) over (
            partition by comparison_number order by number_value
            range between unbounded preceding and current row
        ) as window_below,
        lead(number_value) over (partition by comparison_number order by number_value) - number_value as step
    from numbered_points
),

curves as (
    select
        running.comparison_number,
        comparisons.reference_n,
        running.number_value,
        running.reference_rows,
        -- From the least value, so that values far from zero keep their digits.
        running.number_value - comparisons.least_value as distance,
        running.step,
        running.reference_below,
        running.window_below,
        abs(
            running.reference_below / nullif(comparisons.reference_n, 0)
            - running.window_below / nullif(comparisons.window_n, 0)
        ) as gap
    from running
    inner join comparisons on running.comparison_number = comparisons.comparison_number
),

statistics as (
    select
        comparison_number,
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
    group by comparison_number
)

select
    {{ evalhouse.qualified('comparisons', key) }},
    comparisons.reference_n,
    comparisons.window_n,
    statistics.ks_statistic,
    statistics.area_between,
    statistics.sum_of_distances,
    statistics.sum_of_squares,
    {%- for k in range(1, 10) %}
    statistics.edge_{{ k }},
    statistics.reference_below_{{ k }},
    statistics.window_below_{{ k }},
    {%- endfor %}
    sqrt(greatest(
        coalesce(
            statistics.sum_of_squares / nullif(comparisons.reference_n, 0)
            - power(statistics.sum_of_distances / nullif(comparisons.reference_n, 0), 2), 0
        ), 0
    )) as reference_sd
from comparisons
inner join statistics on comparisons.comparison_number = statistics.comparison_number
