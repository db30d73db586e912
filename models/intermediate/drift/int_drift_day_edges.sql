{#- The edges by which a day's numbers are scored, so that days can be summed: those of the window that holds the day,
    and of the first window for days before it. -#}
with drift_numbers as (
    select * from {{ ref('evalhouse', 'int_drift_numbers') }}
    where segment_name = 'all' and reference_n > 0
),

features as (
    select * from {{ ref('evalhouse', 'int_drift_features') }}
),

window_days as (
    select * from {{ ref('evalhouse', 'int_drift_window_days') }}
),

candidates as (
    select
        features.monitor_name,
        drift_numbers.feature_number,
        window_days.row_date,
        {%- for k in [1, 3, 5, 7, 9] %}
        drift_numbers.edge_{{ k }},
        {%- endfor %}
        row_number() over (
            partition by drift_numbers.feature_number, window_days.row_date
            order by case when window_days.is_reference then 1 else 0 end, drift_numbers.window_start
        ) as place
    from drift_numbers
    inner join features on drift_numbers.feature_number = features.feature_number
    inner join window_days
        on features.monitor_name = window_days.monitor_name
        and drift_numbers.window_start = window_days.window_start
)

select
    monitor_name,
    feature_number,
    row_date
    {%- for k in [1, 3, 5, 7, 9] %},
    edge_{{ k }}
    {%- endfor %}
from candidates
where place = 1
