{#-
    The phases of every experiment that has more than one way of splitting its traffic: as registered, else as found in
    the exposures. There, a phase begins on a date when the units first exposed are split among the arms otherwise than
    those of the last date before with any. A date is only held against earlier ones, so that days still to come
    cannot move a phase.
-#}
{%- set false_alarm_rate = '1e-6' -%}
{%- set double = evalhouse.type_double() -%}

with registered as (
    select * from {{ ref('evalhouse', 'stg_experiment_phases') }}
    where rejected_by is null
),

first_exposures as (
    select * from {{ ref('evalhouse', 'int_first_exposures') }}
),

declared as (
    select distinct
        experiment_id,
        phase_started_at
    from registered
),

exposure_days as (
    select
        experiment_id,
        cast(first_exposed_at as date) as exposure_date,
        variation_id,
        cast(count(*) as {{ double }}) as units,
        count(cluster_id) as units_in_clusters
    from first_exposures
    group by experiment_id, cast(first_exposed_at as date), variation_id
),

clustered as (
    select distinct experiment_id
    from exposure_days
    where units_in_clusters > 0
),

-- Clusters enter their arm as a whole and make the split of a day jump without any change of plan.
units_by_day as (
    select *
    from exposure_days
    where
        experiment_id not in (select experiment_id from declared)
        and experiment_id not in (select experiment_id from clustered)
),

days as (
    select
        experiment_id,
        exposure_date,
        lag(exposure_date) over (partition by experiment_id order by exposure_date) as previous_date
    from (
        select distinct
            experiment_id,
            exposure_date
        from units_by_day
    ) as dates
),

-- Two rows of units by arm for each date: its own and those of the date before.
cells as (
    select
        days.experiment_id,
        days.exposure_date,
        units_by_day.variation_id,
        sum(case when units_by_day.exposure_date = days.exposure_date then units_by_day.units else 0 end) as units_now,
        sum(case when units_by_day.exposure_date = days.previous_date then units_by_day.units else 0 end)
            as units_before
    from days
    inner join units_by_day
        on days.experiment_id = units_by_day.experiment_id
        and units_by_day.exposure_date in (days.exposure_date, days.previous_date)
    where days.previous_date is not null
    group by days.experiment_id, days.exposure_date, units_by_day.variation_id
),

expected as (
    select
        *,
        (units_now + units_before) * sum(units_now) over (partition by experiment_id, exposure_date)
        / sum(units_now + units_before) over (partition by experiment_id, exposure_date) as expected_now,
        (units_now + units_before) * sum(units_before) over (partition by experiment_id, exposure_date)
        / sum(units_now + units_before) over (partition by experiment_id, exposure_date) as expected_before
    from cells
),

-- The likelihood ratio rather than Pearson's statistic: with the few units of a canary's arm the latter alarms a
-- hundred times too often at this level.
likelihood_ratios as (
    select
        experiment_id,
        exposure_date,
        2 * sum(
            units_now * coalesce(ln(nullif(units_now, 0) / expected_now), 0)
            + units_before * coalesce(ln(nullif(units_before, 0) / expected_before), 0)
        ) as chi_square,
        count(*) - 1 as degrees_of_freedom
    from expected
    group by experiment_id, exposure_date
),

tests as {{ evalhouse.materialized() }} (
    select
        experiment_id,
        exposure_date,
        case when degrees_of_freedom > 0 then {{ evalhouse.chi_square_sf('chi_square', 'degrees_of_freedom') }} end
            as p_value
    from likelihood_ratios
),

detected as (
    select
        experiment_id,
        cast(exposure_date as {{ dbt.type_timestamp() }}) as starts_at
    from tests
    where p_value < {{ false_alarm_rate }}
),

starts as (
    select
        experiment_id,
        'declared' as phase_source,
        phase_started_at as starts_at
    from declared

    union all

    select
        experiment_id,
        'detected' as phase_source,
        starts_at
    from detected

    union all

    -- What came before the first change of the split.
    select distinct
        experiment_id,
        'detected' as phase_source,
        cast(null as {{ dbt.type_timestamp() }}) as starts_at
    from detected
),

numbered as (
    select
        experiment_id,
        phase_source,
        starts_at,
        row_number() over (partition by experiment_id order by starts_at nulls first) as phase_number,
        lead(starts_at) over (partition by experiment_id order by starts_at nulls first) as ends_at
    from starts
)

select
    experiment_id,
    phase_number,
    phase_source,
    -- A phase lasts until the next one starts; people exposed before the first phase belong to it.
    case when phase_number > 1 then starts_at end as starts_at,
    ends_at
from numbered
