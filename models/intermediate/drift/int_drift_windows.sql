{#- The windows of each monitor that are over and whose reference is full. Windows begin on days that do not depend on
    the data, so that none moves when earlier rows come in. -#}
{%- set monitors = evalhouse.settings().drift_monitors %}

with spans as (
    select * from {{ ref('evalhouse', 'int_drift_spans') }}
),

numbers as (
    select * from {{ ref('evalhouse', 'numbers') }}
),

window_numbers as (
    select 256 * blocks.n + ones.n as n
    from numbers as blocks
    cross join numbers as ones
    where blocks.n < 32
),

monitors as (
    {%- for monitor in monitors %}
    {%- set reference = monitor.reference %}
    select
        '{{ monitor.name }}' as monitor_name,
        '{{ reference.kind }}' as reference_kind,
        {{ monitor.window_days }} as window_days,
        {{ reference.days or (reference.weeks or 0) * 7 }} as reference_days,
        cast({{ "'" ~ reference.start ~ "'" if reference.start else 'null' }} as date) as fixed_start,
        cast({{ "'" ~ reference.end ~ "'" if reference.end else 'null' }} as date) as fixed_end
    {{ 'union all' if not loop.last }}
    {%- else %}
    select
        cast(null as {{ dbt.type_string() }}) as monitor_name,
        cast(null as {{ dbt.type_string() }}) as reference_kind,
        1 as window_days,
        0 as reference_days,
        cast(null as date) as fixed_start,
        cast(null as date) as fixed_end
    from (select 1 as nothing) as no_row
    where 1 = 0
    {%- endfor %}
),

earliest as (
    select
        monitors.*,
        spans.complete_until,
        coalesce(
            monitors.fixed_end,
            cast({{ evalhouse.time_added('day', 'monitors.reference_days', 'spans.first_date') }} as date)
        ) as earliest_start,
        -- Weeks begin on Mondays.
        coalesce(monitors.fixed_end, cast('1970-01-05' as date)) as first_boundary
    from monitors
    inner join spans on monitors.monitor_name = spans.monitor_name
),

distances as (
    select
        *,
        {{ dbt.datediff('first_boundary', 'earliest_start', 'day') }} as days_from_boundary
    from earliest
),

first_windows as (
    select
        *,
        cast({{ evalhouse.time_added(
            'day', 'window_days * cast(ceil(days_from_boundary / (1.0 * window_days)) as ' ~ dbt.type_int() ~ ')',
            'first_boundary'
        ) }} as date) as first_start
    from distances
),

counted as (
    select
        *,
        floor(
            {{ dbt.datediff('first_start', 'complete_until', 'day') }}
            / cast(window_days as {{ evalhouse.type_double() }})
        ) as windows_over
    from first_windows
),

-- From the newest one back: a row that is dated decades ago must not use them up.
numbered as (
    select
        counted.*,
        cast(counted.windows_over - 1 - window_numbers.n as {{ dbt.type_int() }}) as window_number
    from counted
    inner join window_numbers on window_numbers.n < counted.windows_over
),

windows as (
    select
        *,
        cast({{ evalhouse.time_added('day', 'window_number * window_days', 'first_start') }} as date) as window_start
    from numbered
)

select
    monitor_name,
    window_start,
    cast({{ evalhouse.time_added('day', 'window_days', 'window_start') }} as date) as window_end,
    window_days,
    reference_kind,
    case
        when reference_kind = 'fixed' then fixed_start
        when reference_kind = 'training' then null
        else cast({{ evalhouse.time_added('day', '-reference_days', 'window_start') }} as date)
    end as reference_start,
    case
        when reference_kind = 'fixed' then fixed_end
        when reference_kind = 'training' then null
        when reference_kind = 'same_weekday'
            then cast({{ evalhouse.time_added('day', 'window_days - 7', 'window_start') }} as date)
        else window_start
    end as reference_end
from windows
