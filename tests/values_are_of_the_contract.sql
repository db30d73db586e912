-- Statuses, verdicts, states and findings are the ones that readers were promised.
{%- set verdicts = "('better', 'worse', 'inconclusive', 'not_computed')" -%}
{%- set statuses = "('ok', 'insufficient', 'refused', 'missing')" %}
select
    'experiment_results' as model_name,
    status,
    verdict,
    adjustment
from {{ ref('evalhouse', 'experiment_results') }}
where
    status not in {{ statuses }}
    or verdict not in {{ verdicts }}
    or adjustment not in ('none', 'cuped', 'stratified', 'cuped_stratified', 'clustered', 'exact')
    or metric_role not in ('goal', 'secondary', 'guardrail')

union all

select
    'experiment_results_daily' as model_name,
    status,
    verdict,
    group_sequential_verdict as adjustment
from {{ ref('evalhouse', 'experiment_results_daily') }}
where
    status not in {{ statuses }}
    or verdict not in {{ verdicts }}
    or group_sequential_verdict not in (
        'better', 'worse', 'inconclusive', 'before_first_look', 'no_boundaries', 'not_planned'
    )

union all

select
    'experiment_health' as model_name,
    status,
    check_name as verdict,
    scope as adjustment
from {{ ref('evalhouse', 'experiment_health') }}
where status not in ('pass', 'warn', 'fail', 'insufficient')

union all

select
    'guardrail_checks' as model_name,
    state as status,
    action as verdict,
    reason as adjustment
from {{ ref('evalhouse', 'guardrail_checks') }}
where
    state not in ('pass', 'breach', 'inconclusive', 'no_data')
    or action not in ('none', 'pause', 'rollback')
    or (state = 'breach') <> (first_breach_at is not null)
    or (state = 'breach' and bound < margin)
    or (state = 'pass' and upper_bound >= margin)

union all

select
    'experiment_tradeoffs' as model_name,
    status,
    verdict,
    status_reason as adjustment
from {{ ref('evalhouse', 'experiment_tradeoffs') }}
where verdict not in ('trade_off', 'aligned', 'both_worse', 'reverse', 'no_evidence', 'not_computed')

union all

select
    'experiment_subgroups' as model_name,
    status,
    finding as verdict,
    status_reason as adjustment
from {{ ref('evalhouse', 'experiment_subgroups') }}
where finding not in ('harmed_while_average_gains', 'harmed', 'gains', 'differs', 'none', 'not_computed')

union all

select
    'drift_summary' as model_name,
    status,
    drift_kind as verdict,
    status_reason as adjustment
from {{ ref('evalhouse', 'drift_summary') }}
where
    status not in ('ok', 'warn', 'alert', 'insufficient')
    or drift_kind not in ('none', 'logging', 'covariate', 'prediction', 'label', 'concept')
    or quality not in ('worse', 'better', 'unchanged', 'unknown')
    or (status in ('warn', 'alert')) = (drift_kind = 'none')
    or (status <> 'ok' and status_reason is null)
    or is_sustained <> (change_point_at is not null)
    or p_value_adjusted < p_value

union all

select
    'drift_decomposition' as model_name,
    status,
    verdict,
    cause as adjustment
from {{ ref('evalhouse', 'drift_decomposition') }}
where
    status not in ('ok', 'insufficient')
    or (status = 'insufficient' and status_reason is null)
    or verdict not in ('worse', 'better', 'unchanged', 'not_computed')
    or abs(change - mix - within_slices - uncovered)
    > 1e-9 * (abs(change) + abs(mix) + abs(within_slices) + abs(uncovered)) + 1e-12
