{#-
    Reference against window for every feature that is a number: where both stand at the reference's deciles, and how
    far apart the two distributions are. The k-th decile is the ceil(n k / 10)-th smallest value of the reference.
-#}
{%- set key = 'feature_number, segment_name, segment_value, window_start' -%}
{%- set value_key = 'feature_number, segment_name, segment_value, row_date' %}

with one_day_values as (
    select * from {{ ref('evalhouse', 'int_drift_values') }}
    where number_value is not null and monitor_name in ({{ evalhouse.drift_monitor_names(one_day=true) }})
),

daily_values as (
    select * from {{ ref('evalhouse', 'int_drift_values') }}
    where number_value is not null and monitor_name in ({{ evalhouse.drift_monitor_names(one_day=false) }})
),

counts as (
    select * from {{ ref('evalhouse', 'int_drift_counts') }}
),

features as (
    select * from {{ ref('evalhouse', 'int_drift_features') }}
),

window_days as (
    select * from {{ ref('evalhouse', 'int_drift_window_days') }}
),

-- One number to sort by: with four columns in its place the windows below take twice as long.
comparisons as {{ evalhouse.materialized() }} (
    select
        {{ key }},
        row_number() over (order by {{ key }}) as comparison_number
    from counts
),

compared_days as {{ evalhouse.materialized() }} (
    select
        comparisons.comparison_number,
        comparisons.feature_number,
        comparisons.segment_name,
        comparisons.segment_value,
        window_days.row_date,
        window_days.is_reference
    from comparisons
    inner join features on comparisons.feature_number = features.feature_number
    inner join window_days
        on features.monitor_name = window_days.monitor_name
        and comparisons.window_start = window_days.window_start
),

-- Where both sides are one day each, a value is there at most twice already: to group again would cost as much as the
-- sort that follows.
points as (
    select
        compared_days.comparison_number,
        one_day_values.number_value,
        case when compared_days.is_reference then one_day_values.row_count else 0e0 end as reference_rows,
        case when compared_days.is_reference then 0e0 else one_day_values.row_count end as window_rows
    from one_day_values
    inner join compared_days on {{ evalhouse.joined('one_day_values', 'compared_days', value_key) }}

    union all

    select
        compared_days.comparison_number,
        daily_values.number_value,
        sum(case when compared_days.is_reference then daily_values.row_count else 0e0 end) as reference_rows,
        sum(case when compared_days.is_reference then 0e0 else daily_values.row_count end) as window_rows
    from daily_values
    inner join compared_days on {{ evalhouse.joined('daily_values', 'compared_days', value_key) }}
    group by compared_days.comparison_number, daily_values.number_value
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
        lead(number_value) over (partition by comparison_number order by number_value) - number_value as step,
        sum(reference_rows) over (partition by comparison_number) as reference_n,
        sum(window_rows) over (partition by comparison_number) as window_n,
        min(number_value) over (partition by comparison_number) as least_value
    from points
),

curves as (
    select
        *,
        -- From the least value, so that values far from zero keep their digits.
        number_value - least_value as distance,
        abs(reference_below / nullif(reference_n, 0) - window_below / nullif(window_n, 0)) as gap
    from running
),

statistics as (
    select
        comparison_number,
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
    group by comparison_number
)

select
    {{ evalhouse.qualified('comparisons', key) }},
    statistics.reference_n,
    statistics.window_n,
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
            statistics.sum_of_squares / nullif(statistics.reference_n, 0)
            - power(statistics.sum_of_distances / nullif(statistics.reference_n, 0), 2), 0
        ), 0
    )) as reference_sd
from comparisons
inner join statistics on comparisons.comparison_number = statistics.comparison_number
