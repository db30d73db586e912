{#- What has to be done now: one row per breach in an experiment that still runs, and one for a split that has left its
    plan beyond doubt. Nothing reads this model, so that a test on it can fail a build without anything being skipped.
    -#}
{%- set string = dbt.type_string() -%}
{%- set double = evalhouse.type_double() -%}

with all_checks as (
    select * from {{ ref('evalhouse', 'guardrail_checks') }}
),

guardrail_checks as (
    select * from all_checks
    where action <> 'none'
),

sample_ratios as (
    select * from {{ ref('evalhouse', 'int_health_srm_sequential') }}
    where crossed_at is not null
),

running as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
    where ended_at is null or ended_at > as_of_at
),

-- Checks of another run than what is known of the experiments: nothing follows from both together.
mixed_experiments as (
    select distinct running.experiment_id
    from running
    inner join all_checks on running.experiment_id = all_checks.experiment_id
    where running.data_state <> all_checks.data_state
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
    guardrail_checks.as_of_at,
    guardrail_checks.data_state
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
    running.as_of_at,
    cast(running.data_state as {{ string }}) as data_state
from sample_ratios
inner join running on sample_ratios.experiment_id = running.experiment_id

union all

select
    cast(running.experiment_id as {{ string }}) as experiment_id,
    cast(null as {{ string }}) as variation_id,
    cast(null as {{ string }}) as metric_name,
    cast('all' as {{ string }}) as slice_name,
    cast('all' as {{ string }}) as slice_value,
    cast('run_again' as {{ string }}) as action,
    cast('mixed_relations' as {{ string }}) as cause,
    cast(null as {{ dbt.type_timestamp() }}) as first_breach_at,
    cast(null as {{ double }}) as margin,
    cast(null as {{ double }}) as effect,
    cast(null as {{ double }}) as bound,
    cast('checks_are_of_another_run' as {{ string }}) as reason,
    running.as_of_at,
    cast(running.data_state as {{ string }}) as data_state
from running
inner join mixed_experiments on running.experiment_id = mixed_experiments.experiment_id
