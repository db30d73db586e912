{#-
    How much each part of a change could differ by chance: sums of squared influences, of the reference, of the window,
    and across the two, because a unit that is in both is one. Units are taken in groups; where there are none, rows
    stand for themselves and the sums follow from the slices' squares.
-#}
{%- set key = 'monitor_name, measure_name, window_start, segment_name, segment_value' -%}
{%- set double = evalhouse.type_double() -%}
{%- set parts = ['change', 'mix', 'within_slices'] -%}
{%- set sides = ['reference', 'window'] -%}
{%- set rows_alone = evalhouse.settings().drift_monitors | rejectattr('unit_column') | map(attribute='name') | list %}

with slice_changes as (
    select * from {{ ref('evalhouse', 'int_drift_slice_changes') }}
),

slice_sums as (
    select * from {{ ref('evalhouse', 'int_drift_slice_sums') }}
),

window_days as (
    select * from {{ ref('evalhouse', 'int_drift_window_days') }}
),

horizons as (
    select * from {{ ref('evalhouse', 'int_drift_label_horizons') }}
),

window_blocks as {{ evalhouse.materialized() }} (
    select
        row_date,
        is_reference,
        {{ evalhouse.text_key(['monitor_name', 'window_start']) }} as window_key
    from window_days
),

slices_of_windows as {{ evalhouse.materialized() }} (
    select
        {{ evalhouse.text_key(['slice_changes.monitor_name', 'slice_changes.window_start']) }} as window_key,
        coalesce(horizons.horizon_hours, 0) as horizon_hours,
        slice_changes.*
    from slice_changes
    left join horizons
        on slice_changes.monitor_name = horizons.monitor_name
        and slice_changes.measure_name = horizons.measure_name
        and slice_changes.window_start = horizons.window_start
),

-- One column to join on: of several, Postgres expects a single row and loops.
slices_of_days as {{ evalhouse.materialized() }} (
    select
        {{ evalhouse.text_key([
            'slices_of_windows.monitor_name', 'slices_of_windows.measure_name', 'window_blocks.row_date',
            'slices_of_windows.segment_name', 'slices_of_windows.segment_value', 'slices_of_windows.slice'
        ]) }} as block_key,
        {{ evalhouse.qualified('slices_of_windows', key) }},
        slices_of_windows.horizon_hours,
        window_blocks.is_reference
        {%- for part in parts %}
        {%- for term in ['value', 'weight'] %},
        case
            when window_blocks.is_reference then slices_of_windows.{{ part }}_reference_on_{{ term }}
            else slices_of_windows.{{ part }}_window_on_{{ term }}
        end as {{ part }}_on_{{ term }}
        {%- endfor %}
        {%- endfor %}
    from slices_of_windows
    inner join window_blocks on slices_of_windows.window_key = window_blocks.window_key
),

group_sums as {{ evalhouse.materialized() }} (
    select
        {{ evalhouse.text_key([
            'monitor_name', 'measure_name', 'row_date', 'segment_name', 'segment_value', 'slice'
        ]) }} as block_key,
        unit_group,
        label_step,
        weight_sum,
        value_sum
    from slice_sums
    where unit_group is not null and rows_sum > 0
),

group_influences as {{ evalhouse.materialized() }} (
    select
        {{ evalhouse.qualified('slices_of_days', key) }},
        group_sums.unit_group,
        {%- for part in parts %}
        sum(
            slices_of_days.{{ part }}_on_value * group_sums.value_sum
            + slices_of_days.{{ part }}_on_weight * group_sums.weight_sum
        ) as {{ part }},
        {%- endfor %}
        slices_of_days.is_reference
    from group_sums
    inner join slices_of_days
        on group_sums.block_key = slices_of_days.block_key
        and group_sums.label_step <= slices_of_days.horizon_hours
    group by {{ evalhouse.qualified('slices_of_days', key) }}, group_sums.unit_group, slices_of_days.is_reference
),

influences as {{ evalhouse.materialized() }} (
    select
        {{ key }},
        unit_group,
        {%- for side in sides %}
        {%- set condition = 'is_reference' if side == 'reference' else 'not is_reference' %}
        max(case when {{ condition }} then 1 else 0 end) as in_{{ side }},
        {%- for part in parts %}
        coalesce(sum(case when {{ condition }} then {{ part }} end), 0) as {{ part }}_{{ side }},
        {%- endfor %}
        coalesce(sum(case when {{ condition }} then change - mix - within_slices end), 0) as uncovered_{{ side }}
            {{- ',' if not loop.last }}
        {%- endfor %}
    from group_influences
    group by {{ key }}, unit_group
),

squares as {{ evalhouse.materialized() }} (
    select
        *,
        sum(change_window * change_window) over (partition by {{ key }}) as change_window_squares
    from influences
),

of_groups as (
    select
        {{ key }},
        true as has_units,
        cast(sum(in_reference) as {{ double }}) as independent_reference,
        cast(sum(in_window) as {{ double }}) as independent_window,
        cast(count(*) as {{ double }}) as independent_parts,
        {%- for part in parts + ['uncovered'] %}
        sum({{ part }}_reference * {{ part }}_reference) as {{ part }}_reference_variance,
        sum({{ part }}_window * {{ part }}_window) as {{ part }}_window_variance,
        sum({{ part }}_reference * {{ part }}_window) as {{ part }}_covariance,
        {%- endfor %}
        -- Over how many groups the window's variance is spread: few, where hardly a unit has what is measured.
        1 / nullif(sum(
            case
                when change_window * change_window > 1e-30 * change_window_squares
                    then power(change_window * change_window / nullif(change_window_squares, 0), 2)
                else 0
            end
        ), 0) as window_spread_over
    from squares
    group by {{ key }}
),

row_squares as (
    select
        *
        {%- for side in sides %}
        {%- for part in parts %},
        {{ part }}_{{ side }}_on_value * {{ part }}_{{ side }}_on_value * {{ side }}_value_squares
        + {{ part }}_{{ side }}_on_weight * {{ part }}_{{ side }}_on_weight * {{ side }}_weight_squares
            as {{ part }}_{{ side }}_terms,
        2 * {{ part }}_{{ side }}_on_value * {{ part }}_{{ side }}_on_weight * {{ side }}_products
            as {{ part }}_{{ side }}_cross
        {%- endfor %}
        {%- endfor %},
        change_window_on_value - mix_window_on_value - within_slices_window_on_value as uncovered_window_on_value,
        change_window_on_weight - mix_window_on_weight - within_slices_window_on_weight as uncovered_window_on_weight
    from slice_changes
    {%- if rows_alone %}
    where monitor_name in ('{{ rows_alone | join("', '") }}')
    {%- else %}
    where 1 = 0
    {%- endif %}
),

row_terms as (
    select
        *,
        uncovered_window_on_value * uncovered_window_on_value * window_value_squares
        + uncovered_window_on_weight * uncovered_window_on_weight * window_weight_squares as uncovered_window_terms,
        2 * uncovered_window_on_value * uncovered_window_on_weight * window_products as uncovered_window_cross
    from row_squares
),

of_rows as (
    select
        {{ key }},
        false as has_units,
        sum(reference_rows) as independent_reference,
        sum(window_rows) as independent_window,
        sum(reference_rows) + sum(window_rows) as independent_parts,
        {%- for part in parts %}
        {%- for side in sides %}
        -- Of terms that cancel, what rounding leaves is nothing.
        sum(case
            when {{ part }}_{{ side }}_terms + {{ part }}_{{ side }}_cross > 1e-13 * {{ part }}_{{ side }}_terms
                then {{ part }}_{{ side }}_terms + {{ part }}_{{ side }}_cross
            when {{ part }}_{{ side }}_terms is not null then 0
        end) as {{ part }}_{{ side }}_variance,
        {%- endfor %}
        cast(0 as {{ double }}) as {{ part }}_covariance,
        {%- endfor %}
        cast(0 as {{ double }}) as uncovered_reference_variance,
        sum(case
            when uncovered_window_terms + uncovered_window_cross > 1e-13 * uncovered_window_terms
                then uncovered_window_terms + uncovered_window_cross
            when uncovered_window_terms is not null then 0
        end) as uncovered_window_variance,
        cast(0 as {{ double }}) as uncovered_covariance,
        -- Of values that are 0 or 1 those of the rarer kind count, of others those that are not zero.
        case
            when sum(window_value_squares) = sum(window_value) and sum(window_value) = sum(window_nonzero)
                and sum(window_rows) - sum(window_nonzero) < sum(window_nonzero)
                then sum(window_rows) - sum(window_nonzero)
            else sum(window_nonzero)
        end as window_spread_over
    from row_terms
    group by {{ key }}
),

variances as (
    select * from of_groups

    union all

    select * from of_rows
)

select
    {{ key }},
    has_units,
    independent_reference,
    independent_window,
    independent_parts,
    {%- for part in evalhouse.drift_parts() %}
    {{ part }}_reference_variance,
    {{ part }}_window_variance,
    {{ part }}_covariance,
    {%- endfor %}
    window_spread_over
from variances
