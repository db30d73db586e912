{#- What each feature's tests come to in a window, and whether it lasts: enough of the last windows are raised. Only
    earlier windows are looked at, so that nothing said of a window is taken back later. -#}
{%- set monitors = evalhouse.settings().drift_monitors -%}
{%- set series = 'monitor_name, item_name, segment_name, segment_value' %}

with monitors as (
    {%- for monitor in monitors %}
    select
        '{{ monitor.name }}' as monitor_name,
        cast({{ monitor.thresholds.warn }} as {{ evalhouse.type_double() }}) as warn_threshold,
        cast({{ monitor.thresholds.alert }} as {{ evalhouse.type_double() }}) as alert_threshold,
        {{ monitor.sustained.windows }} as sustained_windows,
        {{ monitor.sustained.of }} as sustained_of
    {{ 'union all' if not loop.last }}
    {%- else %}
    select
        cast(null as {{ dbt.type_string() }}) as monitor_name,
        cast(null as {{ evalhouse.type_double() }}) as warn_threshold,
        cast(null as {{ evalhouse.type_double() }}) as alert_threshold,
        1 as sustained_windows,
        1 as sustained_of
    from (select 1 as nothing) as no_row
    where 1 = 0
    {%- endfor %}
),

tests as (
    select * from {{ ref('evalhouse', 'int_drift_tests') }}
),

windows as (
    select * from {{ ref('evalhouse', 'int_drift_windows') }}
),

levels as (
    select
        tests.*,
        monitors.warn_threshold,
        monitors.sustained_windows,
        monitors.sustained_of,
        case
            when tests.p_value_adjusted > {{ evalhouse.settings().analysis.alpha }} then 0
            when tests.harm_ratio >= 1 or tests.effect >= monitors.alert_threshold then 2
            when tests.harm_ratio <= -1 then 1
            when tests.effect >= monitors.warn_threshold then 1
            else 0
        end as level
    from tests
    inner join monitors on tests.monitor_name = monitors.monitor_name
),

per_window as (
    select
        {{ series }},
        window_start,
        max(warn_threshold) as threshold,
        max(sustained_windows) as sustained_windows,
        max(sustained_of) as sustained_of,
        max(level) as level,
        max(case when level > 0 and test_name = 'missing_rate' then 1 else 0 end) = 1 as is_raised_by_missing,
        max(case when level > 0 and test_name = 'new_category' then 1 else 0 end) = 1 as is_raised_by_new_category,
        max(case when level > 0 and test_name = 'within_slices' then 1 else 0 end) = 1 as is_raised_within,
        max(case when level = 2 and test_name in ('change', 'within_slices') then 1 else 0 end) = 1 as is_worse,
        max(case when level = 1 and test_name in ('change', 'within_slices') then 1 else 0 end) = 1 as is_better
        {%- for test in ['distribution', 'missing_rate', 'new_category', 'change', 'within_slices'] %},
        min(case when test_name = '{{ test }}' then p_value end) as {{ test }}_p_value,
        min(case when test_name = '{{ test }}' then p_value_adjusted end) as {{ test }}_p_value_adjusted
        {%- endfor %}
    from levels
    group by {{ series }}, window_start
),

-- Windows are counted by the calendar: one without rows is a window without an alarm. A bad day after a good one is no
-- run.
placed as (
    select
        per_window.*,
        case
            when per_window.level = 0 then 'none'
            when per_window.is_worse then 'worse'
            when per_window.is_better then 'better'
            else 'moved'
        end as trend,
        windows.window_end,
        floor(
            {{ dbt.datediff("cast('1970-01-01' as date)", 'windows.window_start', 'day') }}
            / cast(windows.window_days as {{ evalhouse.type_double() }}) + 1e-9
        ) as window_place
    from per_window
    inner join windows
        on per_window.monitor_name = windows.monitor_name
        and per_window.window_start = windows.window_start
),

neighbours as (
    select
        *,
        lag(window_place) over (
            partition by {{ series }}, trend order by window_place
        ) as previous_raised
        {%- for count in monitors | map(attribute='sustained.windows') | unique if count > 1 %},
        lag(window_place, {{ count - 1 }}) over (
            partition by {{ series }}, trend order by window_place
        ) as raised_{{ count }}_ago
        {%- endfor %}
    from placed
),

-- A shift is over when as many windows in a row are quiet as are looked at.
runs as (
    select
        *,
        case
            {%- for count in monitors | map(attribute='sustained.windows') | unique if count > 1 %}
            when sustained_windows = {{ count }}
                then coalesce(window_place - raised_{{ count }}_ago < sustained_of, false)
            {%- endfor %}
            when sustained_windows = 1 then true
        end as has_enough,
        case
            when level > 0
                and coalesce(window_place - previous_raised > sustained_of, true)
                then 1
            else 0
        end as starts_run
    from neighbours
),

numbered as (
    select
        *,
        sum(starts_run) over (
            partition by {{ series }}, trend order by window_place rows between unbounded preceding and current row
        ) as run_number
    from runs
)

select
    {{ series }},
    window_start,
    threshold,
    level,
    is_raised_by_missing,
    is_raised_by_new_category,
    is_raised_within,
    is_worse,
    is_better,
    {%- for test in ['distribution', 'missing_rate', 'new_category', 'change', 'within_slices'] %}
    {{ test }}_p_value,
    {{ test }}_p_value_adjusted,
    {%- endfor %}
    level > 0 and has_enough as is_sustained,
    case
        when level > 0 and has_enough
            then min(case when level > 0 then window_start end) over (
                partition by {{ series }}, trend, run_number
                order by window_place rows between unbounded preceding and current row
            )
    end as change_point_at
from numbered
