{#- Whether the traces of one arm go missing more often than those of another: of the units exposed, how many are seen
    in the traces on the day of their exposure or the day after, by arm. Later days would measure who comes back. -#}
{%- set string = dbt.type_string() -%}
{%- set double = evalhouse.type_double() -%}
{%- set threshold = evalhouse.settings().analysis.srm_alpha -%}

with exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
    where excluded_by is null
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

traces as (
    select * from {{ ref('evalhouse', 'int_traces') }}
    where trace_id <> '' and not is_shadow
),

watermarks as (
    {{ evalhouse.fact_watermarks(['traces']) | indent(4) }}
),

days_seen as (
    select distinct
        unit_id,
        cast(started_at as date) as trace_date
    from traces
),

-- Only units whose two days have passed.
entries as (
    select
        exposed_units.experiment_id,
        exposed_units.phase_number,
        exposed_units.variation_id,
        exposed_units.unit_id,
        exposed_units.is_clustered,
        cast(exposed_units.first_exposed_at as date) as entry_date,
        cast({{ evalhouse.time_added('day', 1, 'cast(exposed_units.first_exposed_at as date)') }} as date) as next_date
    from exposed_units
    cross join watermarks
    where
        {{ evalhouse.time_added('day', 2, 'cast(exposed_units.first_exposed_at as date)') }}
        <= watermarks.traces_watermark_at
),

arms as (
    select
        entries.experiment_id,
        entries.phase_number,
        entries.variation_id,
        max(case when entries.is_clustered then 1 else 0 end) as is_clustered,
        cast(count(*) as {{ double }}) as units,
        cast(
            sum(case when on_the_day.unit_id is not null or day_after.unit_id is not null then 1 else 0 end)
            as {{ double }}
        ) as traced
    from entries
    left join days_seen as on_the_day
        on entries.unit_id = on_the_day.unit_id
        and entries.entry_date = on_the_day.trace_date
    left join days_seen as day_after
        on entries.unit_id = day_after.unit_id
        and entries.next_date = day_after.trace_date
    group by entries.experiment_id, entries.phase_number, entries.variation_id
),

phases as (
    select
        *,
        sum(units) over (partition by experiment_id, phase_number) as phase_units,
        sum(traced) over (partition by experiment_id, phase_number) as phase_traced
    from arms
),

expected as (
    select
        *,
        units * phase_traced / phase_units as expected_traced,
        units * (phase_units - phase_traced) / phase_units as expected_lost
    from phases
),

-- A phase without a loss, or without a trace, has nothing to compare; one with fewer than five expected in a cell is
-- too small for chi-square.
by_phase as (
    select
        experiment_id,
        phase_number,
        max(is_clustered) as is_clustered,
        sum(units) as units,
        sum(traced) as traced,
        min(expected_traced) >= 5 and min(expected_lost) >= 5 and count(*) > 1 as is_large_enough,
        count(*) - 1 as degrees_of_freedom,
        sum((traced - expected_traced) * (traced - expected_traced) * (
            1 / nullif(expected_traced, 0) + 1 / nullif(expected_lost, 0)
        )) as chi_square
    from expected
    group by experiment_id, phase_number
),

by_experiment as (
    select
        experiment_id,
        max(is_clustered) as is_clustered,
        sum(units) as units,
        sum(traced) as traced,
        sum(case when is_large_enough then chi_square end) as chi_square,
        sum(case when is_large_enough then degrees_of_freedom end) as degrees_of_freedom
    from by_phase
    group by experiment_id
),

rates as (
    select
        experiment_id,
        variation_id,
        100 * sum(traced) / sum(units) as percent_traced
    from arms
    group by experiment_id, variation_id
),

described as (
    select
        experiment_id,
        {{ evalhouse.sorted_listagg(
            "variation_id || ' ' || cast(cast(percent_traced as decimal(18, 1)) as " ~ string ~ ") || ' %'", "', '"
        ) }} as shares
    from rates
    group by experiment_id
),

tested as (
    select
        *,
        case
            when is_clustered = 0 and degrees_of_freedom > 0
                then {{ evalhouse.chi_square_sf('chi_square', 'degrees_of_freedom') }}
        end as p_value
    from by_experiment
)

select
    experiments.experiment_id,
    'srm_trace_join' as check_name,
    'all' as scope,
    case
        when tested.p_value < {{ threshold }} then 'fail'
        when tested.p_value >= {{ threshold }} then 'pass'
        when tested.traced = tested.units then 'pass'
        else 'insufficient'
    end as status,
    tested.chi_square as statistic,
    tested.p_value,
    cast({{ threshold }} as {{ double }}) as threshold,
    case
        when tested.units is null then 'no unit was exposed two whole days before the newest trace'
        when tested.is_clustered = 1 then 'not tested where units come in clusters; '
        when tested.p_value is null and tested.traced < tested.units then 'too few units to compare; '
        else ''
    end || coalesce('seen in the traces by the day after their exposure: ' || described.shares, '') as detail
from experiments
left join tested on experiments.experiment_id = tested.experiment_id
left join described on experiments.experiment_id = described.experiment_id
