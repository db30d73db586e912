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
