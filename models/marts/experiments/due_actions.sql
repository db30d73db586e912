{#- What has to be done now: one row per breach in an experiment that still runs, and one for a split that has left its
    plan beyond doubt. Nothing reads this model, so that a test on it can fail a build without anything being skipped. -#}
{%- set string = dbt.type_string() -%}
{%- set double = evalhouse.type_double() -%}

with guardrail_checks as (
    select * from {{ ref('evalhouse', 'guardrail_checks') }}
    where action <> 'none'
),

sample_ratios as (
    select * from {{ ref('evalhouse', 'int_health_srm_sequential') }}
    where crossed_at is not null
),

running as (
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
    cast('guardrail' as {{ string }}) as cause,
    guardrail_checks.first_breach_at,
    guardrail_checks.margin,
    guardrail_checks.effect,
    guardrail_checks.bound,
    guardrail_checks.reason,
    guardrail_checks.as_of_at
from guardrail_checks
inner join running on guardrail_checks.experiment_id = running.experiment_id

union all

select
    cast(running.experiment_id as {{ string }}) as experiment_id,
    cast(null as {{ string }}) as variation_id,
    cast(null as {{ string }}) as metric_name,
    cast('all' as {{ string }}) as slice_name,
    cast('all' as {{ string }}) as slice_value,
    cast('pause' as {{ string }}) as action,
    cast('sample_ratio' as {{ string }}) as cause,
    sample_ratios.crossed_at as first_breach_at,
    cast(null as {{ double }}) as margin,
    cast(null as {{ double }}) as effect,
    cast(null as {{ double }}) as bound,
    cast('split_left_the_plan' as {{ string }}) as reason,
    running.as_of_at
from sample_ratios
inner join running on sample_ratios.experiment_id = running.experiment_id
