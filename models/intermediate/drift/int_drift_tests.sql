{#-
    Every test of a window with what it says beyond chance. Holm over all tests of a monitor's window; over windows an
    even share of alpha for each, so that a quarter without drift raises anything with probability alpha, and so that
    no window changes what was said of another. `p_value_adjusted` has both in it and is compared with alpha.
-#}
{%- set window_key = 'monitor_name, window_start' %}

with evidence as (
    select * from {{ ref('evalhouse', 'int_drift_evidence') }}
),

windows as (
    select * from {{ ref('evalhouse', 'int_drift_windows') }}
),

changes as (
    select * from {{ ref('evalhouse', 'int_drift_changes') }}
    where slice = 'all' and status = 'ok'
),

permutations as (
    select * from {{ ref('evalhouse', 'drift_permutations') }}
),

-- What scripts/drift.py found. The test of texts and vectors is whether a classifier tells window from reference.
permuted as (
    select
        monitor_name,
        feature_name,
        window_start,
        'all' as segment_name,
        max(case when method = 'c2st' then statistic end) as auc,
        max(case when method = 'c2st' then p_value end) as classifier_p_value,
        max(case when method = 'ks' and is_complete then p_value end) as ks_p_value
    from permutations
    group by monitor_name, feature_name, window_start
),

distributions as (
    select
        evidence.monitor_name,
        evidence.window_start,
        evidence.feature_name,
        evidence.segment_name,
        evidence.segment_value,
        permuted.auc,
        case
            when evidence.feature_kind in ('text', 'embedding') then {{ evalhouse.psi_of_auc('permuted.auc') }}
            else evidence.effect
        end as effect,
        coalesce(permuted.ks_p_value, permuted.classifier_p_value, evidence.p_value) as p_value
    from evidence
    left join permuted
        on evidence.monitor_name = permuted.monitor_name
        and evidence.feature_name = permuted.feature_name
        and evidence.window_start = permuted.window_start
        and evidence.segment_name = permuted.segment_name
    where evidence.values_reason is null
),

all_tests as (
    select
        monitor_name,
        window_start,
        feature_name as item_name,
        segment_name,
        segment_value,
        'distribution' as test_name,
        effect,
        cast(null as {{ evalhouse.type_double() }}) as harm_ratio,
        p_value
    from distributions
    where p_value is not null

    union all

    select
        monitor_name,
        window_start,
        feature_name as item_name,
        segment_name,
        segment_value,
        'new_category' as test_name,
        effect,
        cast(null as {{ evalhouse.type_double() }}) as harm_ratio,
        new_category_p_value as p_value
    from evidence
    where values_reason is null and new_category_p_value is not null

    union all

    select
        monitor_name,
        window_start,
        feature_name as item_name,
        segment_name,
        segment_value,
        'missing_rate' as test_name,
        missing_psi as effect,
        cast(null as {{ evalhouse.type_double() }}) as harm_ratio,
        missing_p_value as p_value
    from evidence
    -- A label that is missing is one that has not come yet.
    where rows_reason is null and missing_p_value is not null and feature_role <> 'label'
    {%- for part in ['change', 'within_slices'] %}

    union all

    select
        monitor_name,
        window_start,
        measure_name as item_name,
        segment_name,
        segment_value,
        '{{ part }}' as test_name,
        cast(null as {{ evalhouse.type_double() }}) as effect,
        case when direction = 'increase' then -1e0 else 1e0 end
        * case
            when margin > 0 then {{ part }} / margin
            when {{ part }} > 0 then 1e9
            when {{ part }} < 0 then -1e9
            else 0e0
        end as harm_ratio,
        {{ part }}_p_value as p_value
    from changes
    where {{ part }}_p_value is not null
    {%- endfor %}
),

ranked as (
    select
        *,
        row_number() over (
            partition by {{ window_key }} order by p_value, item_name, segment_name, segment_value, test_name
        ) as place,
        count(*) over (partition by {{ window_key }}) as tests
    from all_tests
),

holm as (
    select
        *,
        max(p_value * (tests - place + 1)) over (
            partition by {{ window_key }} order by place rows between unbounded preceding and current row
        ) as p_value_of_window
    from ranked
)

select
    holm.monitor_name,
    holm.window_start,
    holm.item_name,
    holm.segment_name,
    holm.segment_value,
    holm.test_name,
    holm.effect,
    holm.harm_ratio,
    holm.p_value,
    least(1e0, holm.p_value_of_window * 9.1e1 / windows.window_days) as p_value_adjusted
from holm
inner join windows
    on holm.monitor_name = windows.monitor_name
    and holm.window_start = windows.window_start
