{#-
    How many times more the difference between window and reference varies than it would with independent rows. Each
    group of units adds something to that difference, on both sides, as the users of both are the same; the squares of
    what they add are its variance. For scores and for the missing rate it is a difference of means, for categories of
    all shares at once.
-#}
{%- set key = 'feature_number, segment_name, segment_value, window_start' -%}
{%- set sides = [('reference', 'window_days.is_reference'), ('window', 'not window_days.is_reference')] %}

with scores as (
    select * from {{ ref('evalhouse', 'int_drift_group_scores') }}
),

category_counts as (
    select * from {{ ref('evalhouse', 'int_drift_group_categories') }}
),

window_days as (
    select * from {{ ref('evalhouse', 'int_drift_window_days') }}
),

measured as (
    select
        monitor_name,
        feature_number,
        segment_name,
        segment_value,
        row_date,
        unit_group,
        'value' as measure,
        value_count as amount,
        score_sum as total,
        score_squares as squares
    from scores

    union all

    select
        monitor_name,
        feature_number,
        segment_name,
        segment_value,
        row_date,
        unit_group,
        'missing' as measure,
        row_count as amount,
        row_count - value_count as total,
        row_count - value_count as squares
    from scores

    union all

    select
        monitor_name,
        feature_number,
        segment_name,
        segment_value,
        row_date,
        unit_group,
        'missing' as measure,
        sum(row_count) as amount,
        sum(case when category is null then row_count else 0e0 end) as total,
        sum(case when category is null then row_count else 0e0 end) as squares
    from category_counts
    group by monitor_name, feature_number, segment_name, segment_value, row_date, unit_group
),

sums as (
    select
        measured.feature_number,
        measured.segment_name,
        measured.segment_value,
        window_days.window_start,
        measured.unit_group,
        measured.measure
        {%- for side, is_side in sides %}
        {%- for column in ['amount', 'total', 'squares'] %},
        sum(case when {{ is_side }} then measured.{{ column }} else 0e0 end) as {{ side }}_{{ column }}
        {%- endfor %}
        {%- endfor %}
    from measured
    inner join window_days
        on measured.monitor_name = window_days.monitor_name
        and measured.row_date = window_days.row_date
    group by
        measured.feature_number,
        measured.segment_name,
        measured.segment_value,
        window_days.window_start,
        measured.unit_group,
        measured.measure
),

with_sides as (
    select
        *
        {%- for side in ['reference', 'window'] %},
        sum({{ side }}_amount) over (partition by {{ key }}, measure) as {{ side }}_n,
        sum({{ side }}_total) over (partition by {{ key }}, measure)
        / nullif(sum({{ side }}_amount) over (partition by {{ key }}, measure), 0) as {{ side }}_mean
        {%- endfor %}
    from sums
),

differences as (
    select
        {{ key }},
        measure,
        sum(case when window_amount > 0 then 1 else 0 end) as groups_of_window,
        sum(case when reference_amount > 0 then 1 else 0 end) as groups_of_reference,
        count(*) as unit_groups,
        sum(power(
            (window_total - window_amount * window_mean) / nullif(window_n, 0)
            - (reference_total - reference_amount * reference_mean) / nullif(reference_n, 0),
            2
        )) as variance,
        (sum(window_squares) / nullif(max(window_n), 0) - power(max(window_mean), 2)) / nullif(max(window_n), 0)
        + (sum(reference_squares) / nullif(max(reference_n), 0) - power(max(reference_mean), 2))
        / nullif(max(reference_n), 0) as variance_of_rows
    from with_sides
    group by {{ key }}, measure
),

cells as (
    select
        category_counts.feature_number,
        category_counts.segment_name,
        category_counts.segment_value,
        window_days.window_start,
        category_counts.unit_group,
        category_counts.category,
        sum(case when window_days.is_reference then category_counts.row_count else 0e0 end) as reference_rows,
        sum(case when window_days.is_reference then 0e0 else category_counts.row_count end) as window_rows
    from category_counts
    inner join window_days
        on category_counts.monitor_name = window_days.monitor_name
        and category_counts.row_date = window_days.row_date
    where category_counts.category is not null
    group by
        category_counts.feature_number,
        category_counts.segment_name,
        category_counts.segment_value,
        window_days.window_start,
        category_counts.unit_group,
        category_counts.category
),

-- Of the share of a category, what comes from one group.
parts as (
    select
        {{ key }},
        unit_group,
        category,
        sum(reference_rows) over (partition by {{ key }}) as reference_n,
        sum(window_rows) over (partition by {{ key }}) as window_n,
        reference_rows / nullif(sum(reference_rows) over (partition by {{ key }}), 0) as reference_part,
        window_rows / nullif(sum(window_rows) over (partition by {{ key }}), 0) as window_part
    from cells
),

shares as (
    select
        *,
        window_part - reference_part as difference,
        sum(reference_part) over (partition by {{ key }}, category) as reference_share,
        sum(window_part) over (partition by {{ key }}, category) as window_share
    from parts
),

concentrations as (
    select
        {{ key }},
        sum(reference_part * reference_share) as of_reference,
        sum(window_part * window_share) as of_window,
        sum(window_part * reference_share) as of_both,
        max(reference_n) as reference_n,
        max(window_n) as window_n
    from shares
    group by {{ key }}
),

-- Of one category alone nothing varies: what rounding leaves is no variance.
variances as (
    select
        *,
        case when of_window >= 1e0 - 1e-12 then 0e0 else (1e0 - of_window) / nullif(window_n, 0) end
        + case when of_reference >= 1e0 - 1e-12 then 0e0 else (1e0 - of_reference) / nullif(reference_n, 0) end
            as variance_of_rows
    from concentrations
),

group_parts as (
    select
        {{ key }},
        unit_group,
        sum(reference_part) as reference_part,
        sum(window_part) as window_part,
        sum(power(difference, 2)) as squares,
        sum(difference * reference_share) as along_reference,
        sum(difference * window_share) as along_window
    from shares
    group by {{ key }}, unit_group
),

-- In how many groups of the window the most widespread category is that the reference has not.
new_categories as (
    select
        {{ key }},
        category,
        sum(case when window_part > 0 then 1 else 0 end) as unit_groups
    from shares
    where reference_share = 0
    group by {{ key }}, category
),

widest_new_categories as (
    select
        {{ key }},
        'value' as measure,
        max(unit_groups) as new_category_groups
    from new_categories
    group by {{ key }}
),

-- Over categories, the sum of (difference - window_part * window_share + reference_part * reference_share)^2, which
-- most categories enter through the shares only.
category_differences as (
    select
        {{ evalhouse.qualified('group_parts', key) }},
        'value' as measure,
        sum(case when group_parts.window_part > 0 then 1 else 0 end) as groups_of_window,
        sum(case when group_parts.reference_part > 0 then 1 else 0 end) as groups_of_reference,
        count(*) as unit_groups,
        sum(
            group_parts.squares
            - 2e0 * group_parts.window_part * group_parts.along_window
            + 2e0 * group_parts.reference_part * group_parts.along_reference
            + power(group_parts.window_part, 2) * variances.of_window
            - 2e0 * group_parts.window_part * group_parts.reference_part * variances.of_both
            + power(group_parts.reference_part, 2) * variances.of_reference
        ) as variance,
        max(variances.variance_of_rows) as variance_of_rows
    from group_parts
    inner join variances
        on group_parts.feature_number = variances.feature_number
        and group_parts.segment_name = variances.segment_name
        and group_parts.segment_value = variances.segment_value
        and group_parts.window_start = variances.window_start
    group by {{ evalhouse.qualified('group_parts', key) }}
),

all_differences as (
    select * from differences
    union all
    select * from category_differences
)

select
    {{ evalhouse.qualified('all_differences', key) }},
    all_differences.measure,
    all_differences.groups_of_window,
    all_differences.groups_of_reference,
    all_differences.unit_groups,
    widest_new_categories.new_category_groups,
    -- Never below one: that would be said of the groups at hand, not of units as they come.
    case
        when all_differences.unit_groups > 1 and all_differences.variance_of_rows > 1e-300
            then greatest(
                1e0,
                all_differences.variance / all_differences.variance_of_rows
                * all_differences.unit_groups / (all_differences.unit_groups - 1e0)
            )
        else 1e0
    end as design_effect
from all_differences
left join widest_new_categories
    on all_differences.measure = widest_new_categories.measure
    and all_differences.feature_number = widest_new_categories.feature_number
    and all_differences.segment_name = widest_new_categories.segment_name
    and all_differences.segment_value = widest_new_categories.segment_value
    and all_differences.window_start = widest_new_categories.window_start
