{#-
    How each measure of quality changed from the reference to the window, and its parts: `mix`, because other inputs
    came, `within`, because the same inputs are answered differently, `uncovered`, because of inputs that the reference
    never had. With intervals for the row of all slices; rows of slices hold what each adds.
-#}
{%- set monitors = evalhouse.settings().drift_monitors | selectattr('performance') | list -%}
{%- set double = evalhouse.type_double() -%}
{%- set bigint = dbt.type_bigint() -%}
{%- set key = 'monitor_name, measure_name, window_start, segment_name, segment_value' -%}
{%- set parts = evalhouse.drift_parts() -%}
{%- set least_units = 10 %}

with slice_changes as (
    select * from {{ ref('evalhouse', 'int_drift_slice_changes') }}
),

variances as (
    select * from {{ ref('evalhouse', 'int_drift_change_variances') }}
),

windows as (
    select * from {{ ref('evalhouse', 'int_drift_windows') }}
),

horizons as (
    select * from {{ ref('evalhouse', 'int_drift_label_horizons') }}
),

label_lags as (
    select * from {{ ref('evalhouse', 'int_drift_label_lags') }}
),

measures as (
    {%- for monitor in monitors %}
    {%- set last_monitor = loop.last %}
    {%- for measure in monitor.performance %}
    {%- set margin = measure.margin_absolute if measure.margin_absolute is not none else 'null' %}
    select
        '{{ monitor.name }}' as monitor_name,
        '{{ measure.name }}' as measure_name,
        '{{ measure.direction }}' as direction,
        cast({{ margin }} as {{ double }}) as margin_absolute,
        {{ 'true' if measure.labelled_at_column else 'false' }} as is_labelled,
        {{ 'true' if monitor.unit_column else 'false' }} as has_units
    {{ 'union all' if not (last_monitor and loop.last) }}
    {%- endfor %}
    {%- else %}
    select
        {%- for name in ['monitor_name', 'measure_name', 'direction'] %}
        cast(null as {{ dbt.type_string() }}) as {{ name }},
        {%- endfor %}
        cast(null as {{ double }}) as margin_absolute,
        false as is_labelled,
        false as has_units
    from (select 1 as nothing) as no_row
    where 1 = 0
    {%- endfor %}
),

totals as {{ evalhouse.materialized() }} (
    select
        {{ key }},
        max(centre) as centre,
        sum(reference_rows) as reference_rows,
        sum(window_rows) as window_rows,
        sum(window_rows_seen) as window_rows_seen,
        max(reference_level) as reference_level,
        max(window_level) as window_level,
        max(reference_total) as reference_total,
        max(window_total) as window_total,
        sum(mix) as mix,
        sum(within_slices) as within_slices,
        sum(uncovered) as uncovered,
        sum(reference_value_squares) as reference_value_squares,
        sum(reference_products) as reference_products,
        sum(reference_weight_squares) as reference_weight_squares
    from slice_changes
    group by {{ key }}
),

-- Every window has a row for everyone; a segment has one where it was seen in the window or its reference.
grid as (
    select
        windows.monitor_name,
        measures.measure_name,
        windows.window_start,
        'all' as segment_name,
        'all' as segment_value
    from windows
    inner join measures on windows.monitor_name = measures.monitor_name

    union all

    select {{ key }}
    from totals
    where segment_name <> 'all'
),

gathered as {{ evalhouse.materialized() }} (
    select
        {{ evalhouse.qualified('grid', key) }},
        windows.window_end,
        measures.direction,
        measures.margin_absolute,
        measures.is_labelled,
        measures.has_units,
        totals.centre,
        coalesce(totals.reference_rows, 0) as reference_rows,
        coalesce(totals.window_rows, 0) as window_rows,
        coalesce(totals.window_rows_seen, 0) as window_rows_seen,
        totals.reference_level,
        totals.window_level,
        totals.reference_total,
        totals.window_total,
        totals.window_level - totals.reference_level as change,
        totals.mix,
        totals.within_slices,
        totals.uncovered,
        totals.reference_value_squares
        - 2 * totals.reference_level * totals.reference_products
        + totals.reference_level * totals.reference_level * totals.reference_weight_squares as reference_squares,
        totals.reference_value_squares
        + totals.reference_level * totals.reference_level * totals.reference_weight_squares as reference_terms,
        coalesce(variances.independent_reference, 0) as independent_reference,
        coalesce(variances.independent_window, 0) as independent_window,
        variances.independent_parts,
        {%- for part in parts %}
        variances.{{ part }}_reference_variance,
        variances.{{ part }}_window_variance,
        variances.{{ part }}_covariance,
        {%- endfor %}
        1 / power(1 + coalesce(variances.window_spread_over, 0), 2) as unseen_share,
        horizons.horizon_hours,
        horizons.labels_complete_to,
        label_lags.label_lag_p50_hours,
        label_lags.label_lag_p90_hours
    from grid
    inner join windows
        on grid.monitor_name = windows.monitor_name
        and grid.window_start = windows.window_start
    inner join measures
        on grid.monitor_name = measures.monitor_name
        and grid.measure_name = measures.measure_name
    left join totals
        on {{ evalhouse.joined('grid', 'totals', key) }}
    left join variances
        on {{ evalhouse.joined('grid', 'variances', key) }}
    left join horizons
        on grid.monitor_name = horizons.monitor_name
        and grid.measure_name = horizons.measure_name
        and grid.window_start = horizons.window_start
    left join label_lags
        on {{ evalhouse.joined('grid', 'label_lags', key) }}
),

measured as {{ evalhouse.materialized() }} (
    select
        *,
        -- What is smaller is rounding.
        1e-13 * (abs(reference_level) + abs(window_level)) as least_change,
        1e-24 * (reference_level * reference_level + window_level * window_level) as least_variance,
        case
            when reference_squares > 1e-13 * reference_terms then reference_squares / reference_rows
            when reference_squares is not null then 0
        end as reference_variance
    from gathered
),

-- One test for each part.
long_parts as (
    {%- for part in parts %}
    select
        {{ key }},
        '{{ part }}' as part,
        case when abs({{ part }}) <= least_change then 0 else {{ part }} end as estimate,
        least_variance,
        independent_reference,
        independent_window,
        independent_parts,
        {{ part }}_reference_variance as reference_part,
        {{ part }}_covariance as shared_part,
        {% if part in ['change', 'within_slices'] -%}
        -- Where hardly a unit of the window has what is measured, its variance cannot be seen there, and part of it is
        -- taken from the reference: a day without a rare event is no proof that there are none.
        unseen_share * reference_variance * window_rows / nullif(window_total * window_total, 0)
        {%- else -%}
        cast(0 as {{ double }})
        {%- endif %} as unseen_part,
        {{ part }}_window_variance as window_part
    from measured
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

scaled as {{ evalhouse.materialized() }} (
    select
        *,
        independent_reference / (independent_reference - 1) * reference_part as reference_variance,
        independent_window / (independent_window - 1) * window_part + unseen_part as window_variance,
        2 * shared_part * sqrt(
            independent_reference / (independent_reference - 1) * independent_window / (independent_window - 1)
        ) as shared_variance
    from long_parts
    where independent_reference >= 2 and independent_window >= 2
),

summed as {{ evalhouse.materialized() }} (
    select
        *,
        case
            when reference_variance + window_variance + shared_variance > least_variance
                then reference_variance + window_variance + shared_variance
            -- Nothing varies and yet it changed, as when every answer fails: one unit of each side might still differ.
            when estimate <> 0
                then estimate * estimate * (
                    1 / (independent_reference * independent_reference) + 1 / (independent_window * independent_window)
                )
            when estimate is not null then 0
        end as variance,
        case
            when reference_variance + window_variance > least_variance
                then reference_variance / (reference_variance + window_variance)
        end as reference_part_of_variance
    from scaled
),

-- Welch's degrees of freedom, at most as many as there are independent parts.
freed as {{ evalhouse.materialized() }} (
    select
        *,
        cast({{ evalhouse.settings().analysis.alpha / 2 }} as {{ double }}) as tail,
        case when variance > 0 then estimate / sqrt(variance) end as t_statistic,
        case
            when reference_part_of_variance is null and independent_reference < independent_window
                then independent_reference - 1
            when reference_part_of_variance is null then independent_window - 1
            when
                1 / (
                    case when reference_part_of_variance > 1e-30 then power(reference_part_of_variance, 2) else 0 end
                    / (independent_reference - 1)
                    + case
                        when reference_part_of_variance < 1 then power(1 - reference_part_of_variance, 2) else 0
                    end / (independent_window - 1)
                ) < independent_parts - 1
                then 1 / (
                    case when reference_part_of_variance > 1e-30 then power(reference_part_of_variance, 2) else 0 end
                    / (independent_reference - 1)
                    + case
                        when reference_part_of_variance < 1 then power(1 - reference_part_of_variance, 2) else 0
                    end / (independent_window - 1)
                )
            else independent_parts - 1
        end as degrees_of_freedom
    from summed
),

{{ evalhouse.critical_value_steps('freed') }},

tested as {{ evalhouse.materialized() }} (
    select
        *,
        critical_value * sqrt(variance) as half_width,
        -- A part that cannot be anything but zero, as the mix of a single slice, is no evidence.
        case
            when variance = 0 then 1
            else {{ evalhouse.student_t_two_sided_p('t_statistic', 'degrees_of_freedom') }}
        end as p_value
    from refined_twice
),

wide as {{ evalhouse.materialized() }} (
    select
        {{ key }}
        {%- for part in parts %},
        max(case when part = '{{ part }}' then variance end) as {{ part }}_variance,
        max(case when part = '{{ part }}' then half_width end) as {{ part }}_half_width,
        max(case when part = '{{ part }}' then p_value end) as {{ part }}_p_value
        {%- endfor %}
    from tested
    group by {{ key }}
),

judged as {{ evalhouse.materialized() }} (
    select
        measured.*,
        {%- for part in parts %}
        wide.{{ part }}_half_width,
        wide.{{ part }}_p_value,
        {%- endfor %}
        coalesce(wide.change_variance > 0, false) as has_variance,
        case
            when measured.is_labelled and coalesce(
                cast(measured.window_end as {{ dbt.type_timestamp() }}) > measured.labels_complete_to, true
            ) then 'labels_not_in'
            when measured.reference_rows = 0 then 'no_reference'
            when measured.window_rows = 0 then 'no_window_rows'
            when measured.change is null then 'denominator_is_zero'
            when measured.independent_reference < {{ least_units }} or measured.independent_window < {{ least_units }}
                then case when measured.has_units then 'too_few_units' else 'too_few_rows' end
            when measured.mix is null then 'no_shared_slices'
            when coalesce(wide.change_variance > 0, false) then null
            else 'no_variance'
        end as status_reason
    from measured
    left join wide
        on {{ evalhouse.joined('measured', 'wide', key) }}
),

everything as (
    select
        {{ key }},
        window_end,
        'all' as slice,
        direction,
        reference_rows,
        window_rows,
        case when reference_total is not null then cast(1 as {{ double }}) end as reference_share,
        case when window_total is not null then cast(1 as {{ double }}) end as window_share,
        centre + reference_level as reference_value,
        centre + window_level as window_value,
        {%- for part in parts %}
        {{ part }},
        {%- endfor %}
        {%- for part in parts %}
        case when has_variance then {{ part }} - {{ part }}_half_width end as {{ part }}_ci_lower,
        case when has_variance then {{ part }} + {{ part }}_half_width end as {{ part }}_ci_upper,
        case when has_variance then {{ part }}_p_value end as {{ part }}_p_value,
        {%- endfor %}
        coalesce(
            margin_absolute, cast(0.1 as {{ double }}) * sqrt(reference_variance) * reference_rows / reference_total
        ) as margin,
        case when is_labelled then window_rows / nullif(window_rows_seen, 0) end as labelled_share,
        label_lag_p50_hours,
        label_lag_p90_hours,
        labels_complete_to,
        case when status_reason is null then 'ok' else 'insufficient' end as status,
        status_reason
    from judged
),

of_slices as (
    select
        {{ evalhouse.qualified('judged', key) }},
        judged.window_end,
        slice_changes.slice,
        judged.direction,
        slice_changes.reference_rows,
        slice_changes.window_rows,
        slice_changes.reference_share,
        slice_changes.window_share,
        slice_changes.centre + slice_changes.slice_before as reference_value,
        slice_changes.centre + slice_changes.slice_after as window_value,
        slice_changes.mix + slice_changes.within_slices + slice_changes.uncovered as change,
        slice_changes.mix,
        slice_changes.within_slices,
        slice_changes.uncovered,
        {%- for part in parts %}
        cast(null as {{ double }}) as {{ part }}_ci_lower,
        cast(null as {{ double }}) as {{ part }}_ci_upper,
        cast(null as {{ double }}) as {{ part }}_p_value,
        {%- endfor %}
        cast(null as {{ double }}) as margin,
        case
            when judged.is_labelled then slice_changes.window_rows / nullif(slice_changes.window_rows_seen, 0)
        end as labelled_share,
        cast(null as {{ double }}) as label_lag_p50_hours,
        cast(null as {{ double }}) as label_lag_p90_hours,
        judged.labels_complete_to,
        case when judged.status_reason is null then 'ok' else 'insufficient' end as status,
        coalesce(
            judged.status_reason,
            case
                when slice_changes.window_weight = 0 then 'slice_not_in_window'
                when slice_changes.reference_weight = 0 then 'slice_not_in_reference'
                else 'part_of_a_sum'
            end
        ) as status_reason
    from slice_changes
    inner join judged
        on {{ evalhouse.joined('slice_changes', 'judged', key) }}
    where slice_changes.reference_rows + slice_changes.window_rows > 0
),

changes as (
    select * from everything

    union all

    select * from of_slices
)

select
    monitor_name,
    measure_name,
    window_start,
    window_end,
    segment_name,
    segment_value,
    slice,
    direction,
    cast(reference_rows as {{ bigint }}) as reference_rows,
    cast(window_rows as {{ bigint }}) as window_rows,
    reference_share,
    window_share,
    reference_value,
    window_value,
    {%- for part in parts %}
    {{ part }},
    {{ part }}_ci_lower,
    {{ part }}_ci_upper,
    {{ part }}_p_value,
    {%- endfor %}
    margin,
    labelled_share,
    label_lag_p50_hours,
    label_lag_p90_hours,
    labels_complete_to,
    status,
    status_reason
from changes
