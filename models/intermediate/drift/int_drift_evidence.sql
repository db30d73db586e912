{#-
    The tests of every feature in every window: of its distribution (Kolmogorov-Smirnov, or chi-square over categories),
    of categories that the reference has not, and of its missing rate. Rows count as many as independent ones would.
-#}
{%- set key = 'feature_number, segment_name, segment_value, window_start' -%}
{%- set fewest = 10 %}

with counts as (
    select * from {{ ref('evalhouse', 'int_drift_counts') }}
),

features as (
    select * from {{ ref('evalhouse', 'int_drift_features') }}
),

drift_numbers as (
    select * from {{ ref('evalhouse', 'int_drift_numbers') }}
),

divergences as (
    select * from {{ ref('evalhouse', 'int_drift_divergences') }}
),

design_effects as (
    select * from {{ ref('evalhouse', 'int_drift_design_effects') }}
),

windows as (
    select * from {{ ref('evalhouse', 'int_drift_windows') }}
),

label_horizons as (
    select * from {{ ref('evalhouse', 'int_drift_label_horizons') }}
),

-- Labels that come first are not like the rest: their distribution waits as long as what is measured with them.
label_waits as (
    select
        monitor_name,
        window_start,
        min(labels_complete_to) as labels_complete_to
    from label_horizons
    group by monitor_name, window_start
),

joined as (
    select
        {{ evalhouse.qualified('counts', key) }},
        features.monitor_name,
        features.feature_name,
        features.feature_kind,
        features.feature_role,
        coalesce(features.feature_role = 'label' and windows.window_end > label_waits.labels_complete_to, false)
            as waits_for_labels,
        counts.reference_rows,
        counts.window_rows,
        counts.reference_rows - counts.reference_missing as reference_n,
        counts.window_rows - counts.window_missing as window_n,
        counts.reference_missing,
        counts.window_missing,
        counts.reference_missing / nullif(counts.reference_rows, 0) as reference_missing_rate,
        counts.window_missing / nullif(counts.window_rows, 0) as window_missing_rate,
        divergences.psi,
        divergences.bins,
        divergences.js_distance,
        divergences.chi2_statistic,
        divergences.chi2_dof,
        divergences.new_categories,
        divergences.lost_categories,
        divergences.new_category_share,
        divergences.largest_lost_share,
        divergences.largest_new_category,
        divergences.categories,
        case when drift_numbers.reference_n > 0 and drift_numbers.window_n > 0 then drift_numbers.ks_statistic end
            as ks_statistic,
        case
            when drift_numbers.reference_n > 0 and drift_numbers.window_n > 0
                -- A constant reference has no scale: null, unless nothing has moved.
                then case
                    when coalesce(drift_numbers.area_between, 0e0) = 0 then 0e0
                    else drift_numbers.area_between / nullif(drift_numbers.reference_sd, 0)
                end
        end as wasserstein,
        coalesce(value_effects.design_effect, 1e0) as design_effect,
        coalesce(missing_effects.design_effect, 1e0) as missing_design_effect,
        -- The side of fewer groups has most of the variance, and of its uncertainty.
        least(value_effects.groups_of_window, value_effects.groups_of_reference) as unit_groups,
        least(missing_effects.groups_of_window, missing_effects.groups_of_reference) as missing_unit_groups,
        value_effects.groups_of_window,
        value_effects.groups_of_reference,
        value_effects.new_category_groups
    from counts
    inner join features on counts.feature_number = features.feature_number
    inner join windows
        on features.monitor_name = windows.monitor_name
        and counts.window_start = windows.window_start
    left join label_waits
        on features.monitor_name = label_waits.monitor_name
        and counts.window_start = label_waits.window_start
    left join divergences
        on counts.feature_number = divergences.feature_number
        and counts.segment_name = divergences.segment_name
        and counts.segment_value = divergences.segment_value
        and counts.window_start = divergences.window_start
    left join drift_numbers
        on counts.feature_number = drift_numbers.feature_number
        and counts.segment_name = drift_numbers.segment_name
        and counts.segment_value = drift_numbers.segment_value
        and counts.window_start = drift_numbers.window_start
    left join design_effects as value_effects
        on counts.feature_number = value_effects.feature_number
        and counts.segment_name = value_effects.segment_name
        and counts.segment_value = value_effects.segment_value
        and counts.window_start = value_effects.window_start
        and value_effects.measure = 'value'
    left join design_effects as missing_effects
        on counts.feature_number = missing_effects.feature_number
        and counts.segment_name = missing_effects.segment_name
        and counts.segment_value = missing_effects.segment_value
        and counts.window_start = missing_effects.window_start
        and missing_effects.measure = 'missing'
),

effective as (
    select
        *,
        reference_n * window_n / nullif(reference_n + window_n, 0) as effective_rows,
        reference_n * window_n / nullif(reference_n + window_n, 0) / design_effect as effective_n,
        window_rows / nullif(reference_rows + window_rows, 0) as window_part,
        (reference_missing + window_missing) / missing_design_effect as missing_n,
        window_missing / nullif(reference_missing + window_missing, 0) as missing_in_window,
        -- A category of few groups of units says no more than they are many.
        case
            when new_category_groups < largest_new_category / design_effect then new_category_groups
            else largest_new_category / design_effect
        end as new_category_n,
        window_n / nullif(reference_n + window_n, 0) as value_part,
        -- A share below 1e-4, or of no rows, counts as 1e-4.
        greatest(coalesce(window_missing_rate, 0e0), 1e-4) as window_missing_share,
        greatest(coalesce(reference_missing_rate, 0e0), 1e-4) as reference_missing_share,
        greatest(coalesce(1e0 - window_missing_rate, 0e0), 1e-4) as window_present_share,
        greatest(coalesce(1e0 - reference_missing_rate, 0e0), 1e-4) as reference_present_share
    from joined
),

statistics as (
    select
        *,
        (sqrt(effective_n) + 1.2e-1 + 1.1e-1 / nullif(sqrt(effective_n), 0)) * ks_statistic as ks_lambda,
        chi2_statistic / design_effect as chi2_effective,
        -- Relative entropy of where the missing rows are, against where they would be by chance.
        missing_n * (
            case
                when missing_in_window > 0 then missing_in_window * ln(missing_in_window / nullif(window_part, 0))
                else 0e0
            end
            + case
                when missing_in_window < 1
                    then (1e0 - missing_in_window) * ln((1e0 - missing_in_window) / nullif(1e0 - window_part, 0))
                else 0e0
            end
        ) as missing_entropy,
        new_category_n * ln(nullif(value_part, 0)) as new_category_log,
        (window_missing_share - reference_missing_share) * ln(window_missing_share / reference_missing_share)
        + (window_present_share - reference_present_share) * ln(window_present_share / reference_present_share)
            as missing_psi
    from effective
),

-- A variance from few groups is itself uncertain: statistics shrink as Student's t does to the normal.
tempered as {{ evalhouse.materialized() }} (
    select
        *,
        case
            when unit_groups is null or unit_groups < 2 then ks_lambda
            else sqrt((unit_groups - 1e0) * ln(1e0 + 4e0 * power(ks_lambda, 2) / (unit_groups - 1e0)) / 4e0)
        end as ks_tempered,
        case
            when unit_groups is null or unit_groups < 2 then chi2_effective
            else chi2_dof * (unit_groups - 1e0) * ln(1e0 + chi2_effective / nullif(chi2_dof, 0) / (unit_groups - 1e0))
        end as chi2_tempered,
        case
            when missing_unit_groups is null or missing_unit_groups < 2 then missing_entropy
            else (missing_unit_groups - 1e0) * ln(1e0 + 2e0 * missing_entropy / (missing_unit_groups - 1e0)) / 2e0
        end as missing_tempered
    from statistics
)

select
    {{ key }},
    monitor_name,
    feature_name,
    feature_kind,
    feature_role,
    reference_rows,
    window_rows,
    reference_n,
    window_n,
    reference_missing_rate,
    window_missing_rate,
    missing_psi,
    psi,
    -- What PSI is by chance is no effect. Deciles do not tell all: where one value is most of the reference, whatever
    -- falls below it stays in its bin. There the gap between the distributions does: of a normal shift of d standard
    -- deviations it is 0.4 d, and PSI is d^2.
    greatest(
        coalesce(psi - (bins - 1e0) * design_effect / nullif(effective_rows, 0), 0e0),
        6.25e0 * power(coalesce(ks_statistic, 0e0), 2),
        0e0
    ) as effect,
    js_distance,
    chi2_statistic,
    ks_statistic,
    wasserstein,
    new_categories,
    lost_categories,
    new_category_share,
    largest_lost_share,
    design_effect,
    effective_n,
    case
        when reference_rows = 0 then 'no_reference'
        when window_rows = 0 then 'no_rows'
        when waits_for_labels then 'labels_not_in'
        when window_n = 0 or reference_n = 0 then 'no_values'
        when least(reference_n, window_n) < {{ fewest }} then 'too_few_rows'
        when least(groups_of_reference, groups_of_window) < {{ fewest }} then 'too_few_units'
    end as values_reason,
    case
        when least(reference_rows, window_rows) < {{ fewest }} then 'too_few_rows'
        when least(groups_of_reference, groups_of_window) < {{ fewest }} then 'too_few_units'
    end as rows_reason,
    case
        when ks_statistic is not null then greatest({{ evalhouse.kolmogorov_sf('ks_tempered') }}, 1e-300)
        -- One category on both sides has not moved.
        when categories = 1 then 1e0
        when chi2_dof > 0 then {{ evalhouse.chi_square_sf('chi2_tempered', 'chi2_dof') }}
    end as p_value,
    -- Chernoff's bound: right with few missing rows and with many, and never too small.
    case
        when reference_rows > 0 and window_rows > 0 and reference_missing + window_missing > 0
            then least(1e0, 2e0 * {{ evalhouse.exp_safe('-missing_tempered') }})
    end as missing_p_value,
    -- All rows of the largest new category in the window by chance, for any of the categories.
    case
        when new_categories > 0 and value_part > 0
            then least(1e0, categories * {{ evalhouse.exp_safe('new_category_log') }})
    end as new_category_p_value
from tempered
