{#-
    Every slice in a window and in its reference, what it adds to each part of the change, and how each part reacts to a
    row of the slice (its linearised influence): the change in the part is `on_value` times the row's value plus
    `on_weight` times its weight. Values are measured from `centre`.

    With p and q a slice's shares in reference and window, r its share in the window among the slices that both have,
    a and b its values: mix = sum of r a - sum of p a, within = sum of r (b - a), uncovered = what slices that only the
    window has add to its value. The mix of a slice is measured from the reference's value, which sums to the same: more
    of a slice that is worse than the rest then shows as a loss.
-#}
{%- set monitors = evalhouse.settings().drift_monitors | selectattr('performance') | list -%}
{%- set key = 'monitor_name, measure_name, window_start, segment_name, segment_value' -%}
{%- set sums = ['rows', 'weight', 'value', 'weight_squares', 'products', 'value_squares', 'nonzero'] -%}
{%- set double = evalhouse.type_double() -%}
{%- set zero = 'cast(0 as ' ~ double ~ ')' %}

with slice_sums as (
    select * from {{ ref('evalhouse', 'int_drift_slice_sums') }}
),

window_days as (
    select * from {{ ref('evalhouse', 'int_drift_window_days') }}
),

horizons as (
    select * from {{ ref('evalhouse', 'int_drift_label_horizons') }}
),

measures as (
    {%- for monitor in monitors %}
    {%- set last_monitor = loop.last %}
    {%- for measure in monitor.performance %}
    select '{{ monitor.name }}' as monitor_name, '{{ measure.name }}' as measure_name
    {{ 'union all' if not (last_monitor and loop.last) }}
    {%- endfor %}
    {%- else %}
    select cast(null as {{ dbt.type_string() }}) as monitor_name, cast(null as {{ dbt.type_string() }}) as measure_name
    from (select 1 as nothing) as no_row
    where 1 = 0
    {%- endfor %}
),

-- One column to join on: of several, Postgres expects a single row and loops.
measure_days as {{ evalhouse.materialized() }} (
    select
        window_days.window_start,
        window_days.is_reference,
        coalesce(horizons.horizon_hours, 0) as horizon_hours,
        {{ evalhouse.text_key(['measures.monitor_name', 'measures.measure_name', 'window_days.row_date']) }} as day_key
    from window_days
    inner join measures on window_days.monitor_name = measures.monitor_name
    left join horizons
        on measures.monitor_name = horizons.monitor_name
        and measures.measure_name = horizons.measure_name
        and window_days.window_start = horizons.window_start
),

day_sums as {{ evalhouse.materialized() }} (
    select
        {{ evalhouse.text_key(['monitor_name', 'measure_name', 'row_date']) }} as day_key,
        monitor_name,
        measure_name,
        segment_name,
        segment_value,
        slice,
        label_step,
        max(centre) as centre,
        {%- for part in sums %}
        sum({{ part }}_sum) as {{ part }}_sum,
        {%- endfor %}
        sum(rows_seen) as rows_seen
    from slice_sums
    group by monitor_name, measure_name, row_date, segment_name, segment_value, slice, label_step
),

counted as (
    select
        day_sums.*,
        measure_days.window_start,
        measure_days.is_reference,
        coalesce(day_sums.label_step <= measure_days.horizon_hours, false) as counts
    from day_sums
    inner join measure_days on day_sums.day_key = measure_days.day_key
),

sides as {{ evalhouse.materialized() }} (
    select
        {{ key }},
        slice,
        max(centre) as centre
        {%- for side, condition in [('reference', 'is_reference'), ('window', 'not is_reference')] %}
        {%- for part in sums %},
        sum(case when {{ condition }} and counts then {{ part }}_sum else 0 end) as {{ side }}_{{ part }}
        {%- endfor %},
        sum(case when {{ condition }} then rows_seen else 0 end) as {{ side }}_rows_seen
        {%- endfor %}
    from counted
    group by {{ key }}, slice
),

shared as {{ evalhouse.materialized() }} (
    select
        *,
        reference_weight > 0 and window_weight > 0 as is_shared
    from sides
),

totals as {{ evalhouse.materialized() }} (
    select
        {{ key }},
        sum(reference_weight) as reference_total,
        sum(window_weight) as window_total,
        sum(case when is_shared then window_weight else 0 end) as shared_total,
        sum(reference_value) as reference_sum,
        sum(window_value) as window_sum,
        sum(case when is_shared then window_value else 0 end) as shared_sum
    from shared
    group by {{ key }}
),

levels as {{ evalhouse.materialized() }} (
    select
        {{ key }},
        case when reference_total > 0 then reference_total end as reference_total,
        case when window_total > 0 then window_total end as window_total,
        case when shared_total > 0 then shared_total end as shared_total,
        case when reference_total > 0 then reference_sum / reference_total end as reference_level,
        case when window_total > 0 then window_sum / window_total end as window_level,
        -- The window's value on the slices that both have.
        case when shared_total > 0 then shared_sum / shared_total end as shared_level
    from totals
),

valued as {{ evalhouse.materialized() }} (
    select
        shared.*,
        levels.reference_total,
        levels.window_total,
        levels.shared_total,
        levels.reference_level,
        levels.window_level,
        levels.shared_level,
        shared.reference_weight / levels.reference_total as reference_share,
        shared.window_weight / levels.window_total as window_share,
        case when shared.is_shared then shared.window_weight / levels.shared_total end as shared_share,
        case when shared.reference_weight > 0 then shared.reference_value / shared.reference_weight end as slice_before,
        case when shared.window_weight > 0 then shared.window_value / shared.window_weight end as slice_after
    from shared
    inner join levels on {{ evalhouse.joined('shared', 'levels', key) }}
),

expected as {{ evalhouse.materialized() }} (
    select
        *,
        -- What the reference's answers would have come to on the window's inputs.
        sum(case when is_shared then shared_share * slice_before end) over (partition by {{ key }}) as expected_level
    from valued
)

select
    {{ key }},
    slice,
    centre,
    is_shared,
    {%- for side in ['reference', 'window'] %}
    {{ side }}_rows_seen,
    {%- for part in sums %}
    {{ side }}_{{ part }},
    {%- endfor %}
    {{ side }}_share,
    {{ side }}_total,
    {{ side }}_level,
    {%- endfor %}
    slice_before,
    slice_after,
    shared_level,
    expected_level,
    case
        when expected_level is null then null
        when is_shared then (shared_share - reference_share) * (slice_before - reference_level)
        else reference_share * reference_level - reference_value / reference_total
    end as mix,
    case
        when expected_level is null then null
        when is_shared then shared_share * (slice_after - slice_before)
        else {{ zero }}
    end as within_slices,
    case
        when expected_level is null then null
        when is_shared then {{ zero }}
        else window_value / window_total - window_share * shared_level
    end as uncovered,
    -1 / reference_total as change_reference_on_value,
    reference_level / reference_total as change_reference_on_weight,
    1 / window_total as change_window_on_value,
    -window_level / window_total as change_window_on_weight,
    case
        when expected_level is null then null
        when is_shared then shared_share / reference_weight - 1 / reference_total
        else -1 / reference_total
    end as mix_reference_on_value,
    case
        when expected_level is null then null
        when is_shared then reference_level / reference_total - shared_share * slice_before / reference_weight
        else reference_level / reference_total
    end as mix_reference_on_weight,
    case when expected_level is not null then {{ zero }} end as mix_window_on_value,
    case
        when expected_level is null then null
        when is_shared then (slice_before - expected_level) / shared_total
        else {{ zero }}
    end as mix_window_on_weight,
    case
        when expected_level is null then null
        when is_shared then -shared_share / reference_weight
        else {{ zero }}
    end as within_slices_reference_on_value,
    case
        when expected_level is null then null
        when is_shared then shared_share * slice_before / reference_weight
        else {{ zero }}
    end as within_slices_reference_on_weight,
    case
        when expected_level is null then null
        when is_shared then 1 / shared_total
        else {{ zero }}
    end as within_slices_window_on_value,
    case
        when expected_level is null then null
        when is_shared then -(shared_level + slice_before - expected_level) / shared_total
        else {{ zero }}
    end as within_slices_window_on_weight
from expected
