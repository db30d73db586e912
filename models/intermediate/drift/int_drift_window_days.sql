{#- Which days a window and its reference are made of: all that is compared is counted by day once and put together
    from here. -#}
{%- set monitors = evalhouse.settings().drift_monitors %}

with windows as (
    select * from {{ ref('evalhouse', 'int_drift_windows') }}
),

numbers as (
    select * from {{ ref('evalhouse', 'numbers') }}
),

window_days as (
    select
        windows.*,
        numbers.n as day_number,
        cast({{ evalhouse.time_added('day', 'numbers.n', 'windows.window_start') }} as date) as row_date
    from windows
    inner join numbers on numbers.n < windows.window_days
)

select
    monitor_name,
    window_start,
    row_date,
    false as is_reference
from window_days
{%- for monitor in monitors %}
{%- set reference = monitor.reference %}

union all

select
    windows.monitor_name,
    windows.window_start,
    {%- if reference.kind == 'trailing' %}
    cast({{ evalhouse.time_added('day', '-numbers.n', 'windows.window_start') }} as date) as row_date,
    {%- elif reference.kind == 'same_weekday' %}
    cast({{ evalhouse.time_added('day', '-7 * numbers.n', 'windows.row_date') }} as date) as row_date,
    {%- else %}
    {{ evalhouse.reference_date(monitor) }} as row_date,
    {%- endif %}
    true as is_reference
from {{ 'window_days' if reference.kind == 'same_weekday' else 'windows' }} as windows
{%- if reference.kind in ['trailing', 'same_weekday'] %}
inner join numbers on numbers.n between 1 and {{ reference.days or reference.weeks }}
{%- endif %}
where windows.monitor_name = '{{ monitor.name }}'
{%- endfor %}
