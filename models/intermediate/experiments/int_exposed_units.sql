{%- set dimensions = evalhouse.exposure_dimensions() -%}

with exposures as (
    select * from {{ ref('evalhouse', 'stg_exposures') }}
    where rejected_by is null
),

phases as (
    select distinct
        experiment_id,
        phase_started_at
    from {{ ref('evalhouse', 'stg_experiment_phases') }}
    where rejected_by is null
),

-- Attributes are those at first exposure: a later value may be a consequence of the treatment.
first_exposures as (
    select
        experiment_id,
        unit_id,
        min(exposed_at) as first_exposed_at,
        max(exposed_at) as last_exposed_at,
        {{ evalhouse.value_at_first('variation_id', 'exposed_at') }} as variation_id,
        {{ evalhouse.value_at_first('cluster_id', 'exposed_at') }} as cluster_id,
        {%- for dimension in dimensions %}
        {{ evalhouse.value_at_first(dimension.name, 'exposed_at') }} as {{ dimension.name }},
        {%- endfor %}
        min(variation_id) <> max(variation_id) as has_several_variations,
        count(*) as exposure_rows
    from exposures
    group by experiment_id, unit_id
),

-- Until it saw a second variation, a unit counted: what was published then must stay true.
second_variations as (
    select
        first_exposures.experiment_id,
        first_exposures.unit_id,
        min(exposures.exposed_at) as second_variation_at
    from first_exposures
    inner join exposures
        on first_exposures.experiment_id = exposures.experiment_id
        and first_exposures.unit_id = exposures.unit_id
        and first_exposures.variation_id <> exposures.variation_id
    where first_exposures.has_several_variations
    group by first_exposures.experiment_id, first_exposures.unit_id
),

clustered_experiments as (
    select distinct experiment_id
    from first_exposures
    where cluster_id is not null
),

-- A phase lasts until the next one starts; people exposed before the first phase belong to it.
phase_spans as (
    select
        experiment_id,
        row_number() over (partition by experiment_id order by phase_started_at) as phase_number,
        case
            when lag(phase_started_at) over (partition by experiment_id order by phase_started_at) is not null
                then phase_started_at
        end as starts_at,
        lead(phase_started_at) over (partition by experiment_id order by phase_started_at) as ends_at
    from phases
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
    second_variations.second_variation_at,
    clustered_experiments.experiment_id is not null as is_clustered,
    coalesce(phase_spans.phase_number, 1) as phase_number,
    case
        when first_exposures.has_several_variations then 'several_variations'
        when clustered_experiments.experiment_id is not null and first_exposures.cluster_id is null
            then 'missing_cluster'
    end as excluded_by
from first_exposures
left join second_variations
    on first_exposures.experiment_id = second_variations.experiment_id
    and first_exposures.unit_id = second_variations.unit_id
left join clustered_experiments on first_exposures.experiment_id = clustered_experiments.experiment_id
left join phase_spans
    on first_exposures.experiment_id = phase_spans.experiment_id
    and (phase_spans.starts_at is null or first_exposures.first_exposed_at >= phase_spans.starts_at)
    and (phase_spans.ends_at is null or first_exposures.first_exposed_at < phase_spans.ends_at)
