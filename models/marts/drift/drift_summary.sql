{#-
    One row per feature, or measure of quality, window and segment: did it move, by how much, does it last, and which
    kind of drift is it? A moved input or output is no verdict on quality: `quality` says what is known of that.
-#}
{%- set bigint = dbt.type_bigint() -%}
{%- set double = evalhouse.type_double() -%}
{%- set place = 'monitor_name, window_start, segment_name, segment_value' %}

with evidence as (
    select * from {{ ref('evalhouse', 'int_drift_evidence') }}
),

changes as (
    select * from {{ ref('evalhouse', 'int_drift_changes') }}
    where slice = 'all'
),

permutations as (
    select * from {{ ref('evalhouse', 'drift_permutations') }}
),

verdicts as (
    select * from {{ ref('evalhouse', 'int_drift_verdicts') }}
),

windows as (
    select * from {{ ref('evalhouse', 'int_drift_windows') }}
),

classifiers as (
    select
        *,
        'all' as segment_name
    from permutations
    where method = 'c2st'
),

items as (
    select
        evidence.monitor_name,
        evidence.feature_name,
        evidence.feature_kind,
        evidence.feature_role,
        evidence.window_start,
        evidence.segment_name,
        evidence.segment_value,
        evidence.reference_n,
        evidence.window_n,
        evidence.psi,
        evidence.js_distance,
        evidence.ks_statistic,
        evidence.chi2_statistic,
        evidence.wasserstein,
        classifiers.statistic as classifier_auc,
        evidence.reference_missing_rate,
        evidence.window_missing_rate,
        evidence.new_categories,
        evidence.lost_categories,
        evidence.new_category_share,
        evidence.largest_lost_share,
        evidence.design_effect,
        evidence.p_value,
        cast(null as {{ dbt.type_timestamp() }}) as labels_complete_to,
        coalesce(
            evidence.values_reason,
            case
                when evidence.feature_kind in ('text', 'embedding') and evidence.segment_name <> 'all'
                    then 'only_for_everyone'
                when evidence.feature_kind in ('text', 'embedding') and classifiers.p_value is null
                    then 'needs_scripts_drift'
                when evidence.p_value is null and classifiers.p_value is null then 'too_few_values'
            end
        ) as reason
    from evidence
    left join classifiers
        on evidence.monitor_name = classifiers.monitor_name
        and evidence.feature_name = classifiers.feature_name
        and evidence.window_start = classifiers.window_start
        and evidence.segment_name = classifiers.segment_name

    union all

    select
        monitor_name,
        measure_name as feature_name,
        'performance' as feature_kind,
        'quality' as feature_role,
        window_start,
        segment_name,
        segment_value,
        reference_rows as reference_n,
        window_rows as window_n,
        {%- for column in [
            'psi', 'js_distance', 'ks_statistic', 'chi2_statistic', 'wasserstein', 'classifier_auc',
            'reference_missing_rate', 'window_missing_rate'
        ] %}
        cast(null as {{ double }}) as {{ column }},
        {%- endfor %}
        cast(null as {{ bigint }}) as new_categories,
        cast(null as {{ bigint }}) as lost_categories,
        cast(null as {{ double }}) as new_category_share,
        cast(null as {{ double }}) as largest_lost_share,
        cast(null as {{ double }}) as design_effect,
        change_p_value as p_value,
        labels_complete_to,
        case when status <> 'ok' then coalesce(status_reason, 'not_computed') end as reason
    from changes
),

judged as (
    select
        items.*,
        windows.window_end,
        windows.reference_start,
        windows.reference_end,
        verdicts.threshold,
        coalesce(verdicts.level, 0) as level,
        coalesce(verdicts.is_sustained, false) as is_sustained,
        verdicts.change_point_at,
        verdicts.is_raised_by_missing,
        verdicts.is_raised_by_new_category,
        -- A value went and another took its place: the same thing by another name.
        verdicts.is_raised_by_new_category and items.largest_lost_share >= items.new_category_share / 2e0 as is_renamed,
        verdicts.is_raised_within,
        verdicts.is_worse,
        verdicts.is_better,
        coalesce(verdicts.distribution_p_value, verdicts.change_p_value) as tested_p_value,
        -- Quality is judged by its change and by what of it comes from within slices: the stronger of both.
        coalesce(
            verdicts.distribution_p_value_adjusted,
            case
                when verdicts.within_slices_p_value_adjusted < verdicts.change_p_value_adjusted
                    then verdicts.within_slices_p_value_adjusted
                else verdicts.change_p_value_adjusted
            end
        ) as p_value_adjusted,
        verdicts.missing_rate_p_value,
        verdicts.missing_rate_p_value_adjusted,
        verdicts.new_category_p_value,
        max(case when verdicts.is_worse and items.feature_kind = 'performance' then 1 else 0 end)
            over (partition by {{ evalhouse.qualified('items', place) }}) as quality_is_worse,
        max(case when verdicts.is_better and items.feature_kind = 'performance' then 1 else 0 end)
            over (partition by {{ evalhouse.qualified('items', place) }}) as quality_is_better,
        max(case when items.reason is null and items.feature_kind = 'performance' then 1 else 0 end)
            over (partition by {{ evalhouse.qualified('items', place) }}) as quality_is_known
    from items
    inner join windows
        on items.monitor_name = windows.monitor_name
        and items.window_start = windows.window_start
    left join verdicts
        on items.monitor_name = verdicts.monitor_name
        and items.feature_name = verdicts.item_name
        and items.segment_name = verdicts.segment_name
        and items.segment_value = verdicts.segment_value
        and items.window_start = verdicts.window_start
)

select
    monitor_name,
    feature_name,
    feature_kind,
    window_start,
    window_end,
    segment_name,
    segment_value,
    cast(reference_n as {{ bigint }}) as reference_n,
    cast(window_n as {{ bigint }}) as window_n,
    psi,
    js_distance,
    ks_statistic,
    chi2_statistic,
    wasserstein,
    coalesce(tested_p_value, p_value) as p_value,
    p_value_adjusted,
    -- Quality is judged by its margin.
    case when feature_kind <> 'performance' then threshold end as threshold,
    case
        when level = 2 then 'alert'
        when level = 1 then 'warn'
        when reason is not null then 'insufficient'
        else 'ok'
    end as status,
    is_sustained,
    change_point_at,
    case
        when level = 0 then 'none'
        when feature_kind = 'performance' and is_raised_within then 'concept'
        when feature_kind = 'performance' then 'covariate'
        when is_raised_by_missing or is_renamed then 'logging'
        when feature_role = 'output' then 'prediction'
        when feature_role = 'label' then 'label'
        else 'covariate'
    end as drift_kind,
    case
        when level = 0 then reason
        when feature_kind = 'performance' and is_raised_within then 'within_slices'
        when feature_kind = 'performance' then 'mix_of_slices'
        when is_raised_by_missing then 'missing_rate'
        when is_renamed then 'renamed_category'
        when is_raised_by_new_category then 'new_category'
        else 'distribution'
    end as status_reason,
    case
        when quality_is_worse = 1 then 'worse'
        when quality_is_better = 1 then 'better'
        when quality_is_known = 1 then 'unchanged'
        else 'unknown'
    end as quality,
    feature_role,
    reference_start,
    reference_end,
    classifier_auc,
    reference_missing_rate,
    window_missing_rate,
    missing_rate_p_value as missing_p_value,
    missing_rate_p_value_adjusted as missing_p_value_adjusted,
    new_category_p_value,
    cast(new_categories as {{ bigint }}) as new_categories,
    cast(lost_categories as {{ bigint }}) as lost_categories,
    new_category_share,
    design_effect,
    labels_complete_to
from judged
