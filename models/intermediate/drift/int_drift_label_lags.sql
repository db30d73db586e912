{#- How long the labels of each window took, of those that count in it. -#}
{%- set monitors = [] -%}
{%- for monitor in evalhouse.settings().drift_monitors -%}
    {%- if monitor.performance | selectattr('labelled_at_column') | list -%}
        {%- do monitors.append(monitor) -%}
    {%- endif -%}
{%- endfor -%}
{%- set double = evalhouse.type_double() %}

with horizons as (
    select * from {{ ref('evalhouse', 'int_drift_label_horizons') }}
),

window_days as (
    select * from {{ ref('evalhouse', 'int_drift_window_days') }}
),

waited_days as (
    select
        horizons.monitor_name,
        horizons.measure_name,
        horizons.window_start,
        horizons.horizon_hours,
        window_days.row_date
    from horizons
    inner join window_days
        on horizons.monitor_name = window_days.monitor_name
        and horizons.window_start = window_days.window_start
    where not window_days.is_reference
),
{%- for monitor in monitors %}

monitor_{{ monitor.name }}_rows as (
    {{ evalhouse.drift_measure_rows(monitor) | indent(4) }}
),
{%- endfor %}

lags as (
    {%- for monitor in monitors %}
    {%- set last_monitor = loop.last %}
    {%- set segments = evalhouse.drift_columns(monitor).segments %}
    {%- for measure in evalhouse.drift_measures(monitor).measures | selectattr('label') %}
    select
        waited_days.monitor_name,
        waited_days.measure_name,
        waited_days.window_start,
        {{ evalhouse.drift_segment_labels(segments) }},
        {%- for name, fraction in [('p50', 0.5), ('p90', 0.9)] %}
        cast({{ evalhouse.percentile_cont('rows_of_monitor.' ~ measure.label ~ '_hours', fraction) }} as {{ double }})
            as label_lag_{{ name }}_hours{{ ',' if not loop.last }}
        {%- endfor %}
    from monitor_{{ monitor.name }}_rows as rows_of_monitor
    inner join waited_days on rows_of_monitor.row_date = waited_days.row_date
    where waited_days.monitor_name = '{{ monitor.name }}'
        and waited_days.measure_name = '{{ measure.name }}'
        and rows_of_monitor.{{ measure.column }}_value is not null
        and rows_of_monitor.{{ measure.label }}_step <= waited_days.horizon_hours
    group by grouping sets (
        (waited_days.monitor_name, waited_days.measure_name, waited_days.window_start){{ ',' if segments }}
        {%- for segment in segments %}
        (waited_days.monitor_name, waited_days.measure_name, waited_days.window_start, {{ segment.column }})
            {{- ',' if not loop.last }}
        {%- endfor %}
    )
    {{ 'union all' if not (last_monitor and loop.last) }}
    {%- endfor %}
    {%- else %}
    select
        monitor_name,
        measure_name,
        window_start,
        'all' as segment_name,
        'all' as segment_value,
        cast(null as {{ double }}) as label_lag_p50_hours,
        cast(null as {{ double }}) as label_lag_p90_hours
    from waited_days
    where 1 = 0
    {%- endfor %}
)

select * from lags
