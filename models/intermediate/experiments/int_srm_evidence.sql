{#-
    Evidence against the planned split as it grew, by date of first exposure: the e-value of a Dirichlet-multinomial
    alternative around the plan (Lindon and Malek). It is a fair bet against the plan, so the chance that it ever exceeds
    1 / alpha is at most alpha however often one looks. Phases are bet on one after the other: their e-values multiply.
-#}
{%- set double = evalhouse.type_double() -%}
{%- set concentration = 500 -%}
{%- set phase = 'experiment_id, phase_number' -%}

with exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
),

arm_counts as (
    select * from {{ ref('evalhouse', 'int_arm_counts') }}
),

-- Arms of weight zero take no part: units there are a failure of their own.
plan as (
    select
        experiment_id,
        phase_number,
        variation_id,
        design_effect,
        expected_weight / sum(expected_weight) over (partition by {{ phase }}) as share
    from arm_counts
    where check_name = 'srm' and scope = 'all' and expected_weight > 0
),

units_by_day as (
    select
        experiment_id,
        phase_number,
        variation_id,
        cast(first_exposed_at as date) as exposure_date,
        cast(count(*) as {{ double }}) as units,
        max(first_exposed_at) as newest_at
    from exposed_units
    group by experiment_id, phase_number, variation_id, cast(first_exposed_at as date)
),

days as (
    select
        experiment_id,
        phase_number,
        exposure_date,
        max(newest_at) as newest_at
    from units_by_day
    group by experiment_id, phase_number, exposure_date
),

-- Whole clusters come in lumps: a unit of theirs counts for less.
cumulative as (
    select
        plan.experiment_id,
        plan.phase_number,
        plan.variation_id,
        plan.share,
        days.exposure_date,
        days.newest_at,
        sum(coalesce(units_by_day.units, 0)) over (
            partition by plan.experiment_id, plan.phase_number, plan.variation_id
            order by days.exposure_date
            rows between unbounded preceding and current row
        ) / plan.design_effect as units
    from plan
    inner join days on {{ evalhouse.joined('plan', 'days', phase) }}
    left join units_by_day
        on {{ evalhouse.joined('plan', 'units_by_day', phase ~ ', variation_id') }}
        and days.exposure_date = units_by_day.exposure_date
),

terms as {{ evalhouse.materialized() }} (
    select
        *,
        {{ concentration }} * share as prior_units,
        {{ concentration }} * share + units as posterior_units
    from cumulative
),

arm_terms as {{ evalhouse.materialized() }} (
    select
        *,
        {{ evalhouse.ln_gamma('posterior_units') }} - {{ evalhouse.ln_gamma('prior_units') }} - units * ln(share)
            as ln_evidence
    from terms
),

phase_sums as {{ evalhouse.materialized() }} (
    select
        experiment_id,
        phase_number,
        exposure_date,
        max(newest_at) as newest_at,
        cast({{ concentration }} as {{ double }}) as prior_units,
        {{ concentration }} + sum(units) as posterior_units,
        sum(ln_evidence) as ln_evidence
    from arm_terms
    group by experiment_id, phase_number, exposure_date
),

phase_evidence as {{ evalhouse.materialized() }} (
    select
        experiment_id,
        phase_number,
        exposure_date,
        newest_at,
        ln_evidence + {{ evalhouse.ln_gamma('prior_units') }} - {{ evalhouse.ln_gamma('posterior_units') }}
            as ln_e_value
    from phase_sums
),

-- What a day adds to its phase; a phase that is over keeps its last value.
gains as (
    select
        experiment_id,
        exposure_date,
        newest_at,
        ln_e_value - coalesce(lag(ln_e_value) over (partition by {{ phase }} order by exposure_date), 0) as gain
    from phase_evidence
),

gains_by_day as (
    select
        experiment_id,
        exposure_date,
        max(newest_at) as newest_at,
        sum(gain) as gain
    from gains
    group by experiment_id, exposure_date
)

select
    experiment_id,
    exposure_date,
    newest_at,
    sum(gain) over (
        partition by experiment_id
        order by exposure_date
        rows between unbounded preceding and current row
    ) as ln_e_value
from gains_by_day
