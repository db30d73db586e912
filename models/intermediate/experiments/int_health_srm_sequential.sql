{#- The sample ratio at every look: the strongest evidence against the plan on any day so far, and when it became too
    strong. -#}
{%- set string = dbt.type_string() -%}
{%- set double = evalhouse.type_double() -%}
{%- set srm_alpha = evalhouse.settings().analysis.srm_alpha -%}

with evidence as (
    select * from {{ ref('evalhouse', 'int_srm_evidence') }}
),

arm_counts as (
    select * from {{ ref('evalhouse', 'int_arm_counts') }}
    where check_name = 'srm' and scope = 'all'
),

smallest_arms as (
    select
        experiment_id,
        min(expected_units) as expected_units
    from (
        select
            experiment_id,
            variation_id,
            sum(expected_units) as expected_units
        from arm_counts
        where expected_weight > 0
        group by experiment_id, variation_id
    ) as arms
    group by experiment_id
),

strongest as {{ evalhouse.materialized() }} (
    select
        experiment_id,
        max(ln_e_value) as statistic,
        -max(ln_e_value) as ln_p_value,
        min(case when ln_e_value > -ln({{ srm_alpha }}) then newest_at end) as crossed_at,
        count(*) as days
    from evidence
    group by experiment_id
),

tested as {{ evalhouse.materialized() }} (
    select
        *,
        case when ln_p_value >= 0 then 1 else {{ evalhouse.exp_safe('ln_p_value') }} end as p_value
    from strongest
)

select
    tested.experiment_id,
    'srm_sequential' as check_name,
    'all' as scope,
    case
        when tested.crossed_at is not null then 'fail'
        when smallest_arms.expected_units >= 8 then 'pass'
        else 'insufficient'
    end as status,
    tested.statistic,
    tested.p_value,
    cast({{ srm_alpha }} as {{ double }}) as threshold,
    case
        when tested.crossed_at is not null
            then 'the split left the plan on ' || cast(cast(tested.crossed_at as date) as {{ string }})
        else 'never beyond chance on ' || cast(tested.days as {{ string }}) || ' days with new units'
    end || '; valid at every look' as detail,
    tested.crossed_at
from tested
inner join smallest_arms on tested.experiment_id = smallest_arms.experiment_id
