{#- What has to be done now: one row per breach in an experiment that still runs. Nothing reads this model, so that a test
    on it can fail a build without anything being skipped. -#}
with guardrail_checks as (
    select * from {{ ref('evalhouse', 'guardrail_checks') }}
    where action <> 'none'
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
    where ended_at is null or ended_at > as_of_at
)

select
    guardrail_checks.experiment_id,
    guardrail_checks.variation_id,
    guardrail_checks.metric_name,
    guardrail_checks.slice_name,
    guardrail_checks.slice_value,
    guardrail_checks.action,
    cast('guardrail' as {{ dbt.type_string() }}) as cause,
    guardrail_checks.first_breach_at,
    guardrail_checks.margin,
    guardrail_checks.effect,
    guardrail_checks.bound,
    guardrail_checks.reason,
    guardrail_checks.as_of_at
from guardrail_checks
inner join experiments on guardrail_checks.experiment_id = experiments.experiment_id
