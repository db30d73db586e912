-- Statuses, verdicts and adjustments are the ones that readers were promised.
select
    'experiment_results' as model_name,
    status,
    verdict,
    adjustment
from {{ ref('evalhouse', 'experiment_results') }}
where
    status not in ('ok', 'insufficient', 'refused', 'missing')
    or verdict not in ('better', 'worse', 'inconclusive', 'not_computed')
    or adjustment not in ('none', 'cuped', 'stratified', 'cuped_stratified', 'clustered', 'exact')
    or metric_role not in ('goal', 'secondary', 'guardrail')

union all

select
    'experiment_health' as model_name,
    status,
    check_name as verdict,
    scope as adjustment
from {{ ref('evalhouse', 'experiment_health') }}
where status not in ('pass', 'warn', 'fail', 'insufficient')
