{#- Sharing units with another experiment is harmless while the two assignments are independent. Where they are not, the
    other experiment's effect is part of this one's. -#}
{%- set string = dbt.type_string() -%}
{%- set bigint = dbt.type_bigint() -%}
{%- set double = evalhouse.type_double() -%}
{%- set srm_alpha = evalhouse.settings().analysis.srm_alpha -%}
{%- set key = 'experiment_id, other_experiment_id' -%}
{%- set stratum = key ~ ', phase_number, other_phase_number' -%}

with shared_units as (
    select * from {{ ref('evalhouse', 'int_shared_units') }}
),

arm_counts as (
    select * from {{ ref('evalhouse', 'int_arm_counts') }}
    where check_name = 'srm' and scope = 'all'
),

design_effects as (
    select
        experiment_id,
        max(design_effect) as design_effect
    from arm_counts
    group by experiment_id
),

-- Within phases of both: two ramps at a time would make independent assignments look associated.
margins as (
    select
        {{ stratum }},
        units,
        sum(units) over (partition by {{ stratum }}) as units_of_stratum,
        sum(units) over (partition by {{ stratum }}, variation_id) as units_of_arm,
        sum(units) over (partition by {{ stratum }}, other_variation_id) as units_of_other_arm
    from shared_units
),

-- Cells that nobody is in add nothing to a sum of observed squared over expected.
strata as (
    select
        {{ stratum }},
        min(units_of_stratum) as units,
        min(units_of_arm) * min(units_of_other_arm) / min(units_of_stratum) as smallest_expected,
        sum(units * units * units_of_stratum / (units_of_arm * units_of_other_arm)) - min(units_of_stratum)
            as chi_square
    from margins
    group by {{ stratum }}
),

arms_of_strata as (
    select
        {{ stratum }},
        cast(count(distinct variation_id) - 1 as {{ double }}) * (count(distinct other_variation_id) - 1)
            as degrees_of_freedom
    from shared_units
    group by {{ stratum }}
),

looked_up as (
    select
        {{ key }},
        min(units_looked_up) as units_looked_up,
        min(units_of_experiment) as units_of_experiment,
        min(units_of_other) as units_of_other
    from shared_units
    group by {{ key }}
),

pairs as (
    select
        {{ evalhouse.qualified('strata', key) }},
        sum(strata.units) as units,
        sum(case when strata.smallest_expected >= 5 then strata.chi_square end) as chi_square,
        sum(case when strata.smallest_expected >= 5 then arms_of_strata.degrees_of_freedom end) as degrees_of_freedom
    from strata
    inner join arms_of_strata
        on {{ evalhouse.joined('strata', 'arms_of_strata', stratum) }}
    group by {{ evalhouse.qualified('strata', key) }}
),

-- Units come in lumps only where both assign whole clusters.
corrected as (
    select
        pairs.*,
        pairs.chi_square / case
            when own.design_effect < other.design_effect then own.design_effect
            else other.design_effect
        end as corrected_chi_square,
        pairs.units / looked_up.units_looked_up as share,
        pairs.units / looked_up.units_looked_up * looked_up.units_of_experiment / looked_up.units_of_other
            as other_share
    from pairs
    inner join looked_up
        on {{ evalhouse.joined('pairs', 'looked_up', key) }}
    inner join design_effects as own on pairs.experiment_id = own.experiment_id
    inner join design_effects as other on pairs.other_experiment_id = other.experiment_id
),

tested as {{ evalhouse.materialized() }} (
    select
        *,
        case
            when degrees_of_freedom > 0
                then {{ evalhouse.chi_square_sf('corrected_chi_square', 'degrees_of_freedom') }}
        end as p_value
    from corrected
),

both_ways as (
    select
        experiment_id,
        other_experiment_id,
        units,
        share,
        p_value
    from tested

    union all

    select
        other_experiment_id as experiment_id,
        experiment_id as other_experiment_id,
        units,
        other_share as share,
        p_value
    from tested
),

limited as (
    select
        *,
        {{ srm_alpha }} / count(*) over (partition by experiment_id) as threshold
    from both_ways
)

select
    experiment_id,
    'concurrent_experiments' as check_name,
    other_experiment_id as scope,
    {{ evalhouse.status_of_test('p_value', 'threshold') }} as status,
    share as statistic,
    p_value,
    threshold,
    cast(cast(100 * share as decimal(18, 1)) as {{ string }}) || '% of the units were in it too while both ran; '
    || case
        when p_value is null then 'too few to see whether the two assignments are independent'
        when p_value < threshold then 'the two assignments are not independent'
        when p_value < 10 * threshold then 'the two assignments may not be independent'
        else 'the two assignments look independent'
    end || ' (' || cast(cast(units as {{ bigint }}) as {{ string }}) || ' shared units looked at)' as detail
from limited
