{#-
    Who takes part, from one pass over the exposures, and in which phase. Phases are those registered. An experiment
    without any gets a new phase on a date when the units first exposed are split among the arms otherwise than those of
    the last date before with any. A date is only held against earlier ones, so that days still to come cannot move a
    phase.
-#}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set attributes = ['variation_id', 'cluster_id'] + dimensions | map(attribute='name') | list -%}
{%- set double = evalhouse.type_double() -%}
{%- set false_alarm_rate = '1e-6' -%}

with exposures as (
    select * from {{ ref('evalhouse', 'stg_exposures') }}
    where rejected_by is null
),

declared_phases as (
    select distinct
        experiment_id,
        phase_started_at
    from {{ ref('evalhouse', 'stg_experiment_phases') }}
    where rejected_by is null
),

-- Most units see one value of everything, and then the least is the first.
summaries as {{ evalhouse.materialized() }} (
    select
        experiment_id,
        unit_id,
        min(exposed_at) as first_exposed_at,
        max(exposed_at) as last_exposed_at,
        {%- for attribute in attributes %}
        min({{ attribute }}) as {{ attribute }},
        {%- endfor %}
        coalesce(
            {%- for attribute in attributes %}
            {{ 'or ' if not loop.first }}min({{ attribute }}) <> max({{ attribute }})
            {%- endfor %},
            false
        ) as has_changing_attributes,
        count(*) as exposure_rows
    from exposures
    group by experiment_id, unit_id
),

exposures_again as (
    select * from {{ ref('evalhouse', 'stg_exposures') }}
    where rejected_by is null
),

changing_exposures as {{ evalhouse.materialized() }} (
    select exposures_again.*
    from summaries
    inner join exposures_again
        on summaries.experiment_id = exposures_again.experiment_id
        and summaries.unit_id = exposures_again.unit_id
    where summaries.has_changing_attributes
),

-- Attributes are those at first exposure: a later value may be a consequence of the treatment.
first_attributes as (
    select
        experiment_id,
        unit_id
        {%- for attribute in attributes %},
        {{ evalhouse.value_at_first(attribute, 'exposed_at') }} as {{ attribute }}
        {%- endfor %}
    from changing_exposures
    group by experiment_id, unit_id
),

-- Until it saw a second variation, a unit counted: what was published then must stay true.
second_variations as (
    select
        first_attributes.experiment_id,
        first_attributes.unit_id,
        min(changing_exposures.exposed_at) as second_variation_at
    from first_attributes
    inner join changing_exposures
        on first_attributes.experiment_id = changing_exposures.experiment_id
        and first_attributes.unit_id = changing_exposures.unit_id
        and first_attributes.variation_id <> changing_exposures.variation_id
    group by first_attributes.experiment_id, first_attributes.unit_id
),

changed_units as {{ evalhouse.materialized() }} (
    select
        summaries.experiment_id,
        summaries.unit_id,
        summaries.first_exposed_at,
        summaries.last_exposed_at,
        {%- for attribute in attributes %}
        first_attributes.{{ attribute }},
        {%- endfor %}
        second_variations.second_variation_at,
        summaries.exposure_rows
    from summaries
    inner join first_attributes
        on summaries.experiment_id = first_attributes.experiment_id
        and summaries.unit_id = first_attributes.unit_id
    left join second_variations
        on summaries.experiment_id = second_variations.experiment_id
        and summaries.unit_id = second_variations.unit_id
    where summaries.has_changing_attributes
),

exposure_days as {{ evalhouse.materialized() }} (
    select
        experiment_id,
        cast(first_exposed_at as date) as exposure_date,
        variation_id,
        cast(count(*) as {{ double }}) as units,
        count(cluster_id) as units_in_clusters
    from (
        select
            experiment_id,
            first_exposed_at,
            variation_id,
            cluster_id
        from summaries
        where not has_changing_attributes

        union all

        select
            experiment_id,
            first_exposed_at,
            variation_id,
            cluster_id
        from changed_units
    ) as first_arms
    group by experiment_id, cast(first_exposed_at as date), variation_id
),

clustered_experiments as (
    select distinct experiment_id
    from exposure_days
    where units_in_clusters > 0
),

-- Clusters enter their arm as a whole and make the split of a day jump without any change of plan.
searched_days as (
    select *
    from exposure_days
    where
        experiment_id not in (select experiment_id from declared_phases)
        and experiment_id not in (select experiment_id from clustered_experiments)
),

consecutive_days as (
    select
        experiment_id,
        exposure_date,
        lag(exposure_date) over (partition by experiment_id order by exposure_date) as previous_date
    from (
        select distinct
            experiment_id,
            exposure_date
        from searched_days
    ) as dates
),

compared_arms as (
    select
        days.experiment_id,
        days.exposure_date,
        arms.variation_id,
        sum(case when arms.exposure_date = days.exposure_date then arms.units else 0 end) as units_now,
        sum(case when arms.exposure_date = days.previous_date then arms.units else 0 end) as units_before
    from consecutive_days as days
    inner join searched_days as arms
        on days.experiment_id = arms.experiment_id
        and arms.exposure_date in (days.exposure_date, days.previous_date)
    where days.previous_date is not null
    group by days.experiment_id, days.exposure_date, arms.variation_id
),

expected_arms as (
    select
        *,
        (units_now + units_before) * sum(units_now) over (partition by experiment_id, exposure_date)
        / sum(units_now + units_before) over (partition by experiment_id, exposure_date) as expected_now,
        (units_now + units_before) * sum(units_before) over (partition by experiment_id, exposure_date)
        / sum(units_now + units_before) over (partition by experiment_id, exposure_date) as expected_before
    from compared_arms
),

-- The likelihood ratio rather than Pearson's statistic: with the few units of a canary's arm the latter has many times
-- more false alarms than this level allows.
likelihood_ratios as (
    select
        experiment_id,
        exposure_date,
        2 * sum(
            units_now * coalesce(ln(nullif(units_now, 0) / expected_now), 0)
            + units_before * coalesce(ln(nullif(units_before, 0) / expected_before), 0)
        ) as chi_square,
        count(*) - 1 as degrees_of_freedom
    from expected_arms
    group by experiment_id, exposure_date
),

tested_days as {{ evalhouse.materialized() }} (
    select
        experiment_id,
        exposure_date,
        case when degrees_of_freedom > 0 then {{ evalhouse.chi_square_sf('chi_square', 'degrees_of_freedom') }} end
            as p_value
    from likelihood_ratios
),

phase_starts as (
    select
        experiment_id,
        phase_started_at as starts_at
    from declared_phases

    union all

    select
        experiment_id,
        cast(exposure_date as {{ dbt.type_timestamp() }}) as starts_at
    from tested_days
    where p_value < {{ false_alarm_rate }}

    union all

    -- What came before the first change of the split.
    select distinct
        experiment_id,
        cast('1900-01-01' as {{ dbt.type_timestamp() }}) as starts_at
    from tested_days
    where p_value < {{ false_alarm_rate }}
),

-- A phase lasts until the next one starts; people exposed before the first phase belong to it.
phase_spans as (
    select
        experiment_id,
        row_number() over (partition by experiment_id order by starts_at) as phase_number,
        case when lag(starts_at) over (partition by experiment_id order by starts_at) is not null then starts_at end
            as starts_at,
        lead(starts_at) over (partition by experiment_id order by starts_at) as ends_at
    from phase_starts
),

-- Not in one step with the days of exposure: an engine would store all units a second time to read them twice.
first_exposures as (
    select
        experiment_id,
        unit_id,
        first_exposed_at,
        last_exposed_at,
        {%- for attribute in attributes %}
        {{ attribute }},
        {%- endfor %}
        cast(null as {{ dbt.type_timestamp() }}) as second_variation_at,
        exposure_rows
    from summaries
    where not has_changing_attributes

    union all

    select
        experiment_id,
        unit_id,
        first_exposed_at,
        last_exposed_at,
        {%- for attribute in attributes %}
        {{ attribute }},
        {%- endfor %}
        second_variation_at,
        exposure_rows
    from changed_units
)

select
    first_exposures.experiment_id,
    first_exposures.unit_id,
    first_exposures.variation_id,
    first_exposures.first_exposed_at,
    first_exposures.last_exposed_at,
    first_exposures.cluster_id,
    {%- for dimension in dimensions %}
    first_exposures.{{ dimension.name }},
    {%- endfor %}
    first_exposures.exposure_rows,
    first_exposures.second_variation_at,
    clustered_experiments.experiment_id is not null as is_clustered,
    coalesce(phase_spans.phase_number, 1) as phase_number,
    case
        -- First: a unit that never counted does not begin to when it sees a second variation.
        when clustered_experiments.experiment_id is not null and first_exposures.cluster_id is null
            then 'missing_cluster'
        when first_exposures.second_variation_at is not null then 'several_variations'
    end as excluded_by
from first_exposures
left join clustered_experiments on first_exposures.experiment_id = clustered_experiments.experiment_id
left join phase_spans
    on first_exposures.experiment_id = phase_spans.experiment_id
    and (phase_spans.starts_at is null or first_exposures.first_exposed_at >= phase_spans.starts_at)
    and (phase_spans.ends_at is null or first_exposures.first_exposed_at < phase_spans.ends_at)
