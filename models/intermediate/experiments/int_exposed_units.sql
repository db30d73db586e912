{%- set dimensions = evalhouse.exposure_dimensions() -%}

with first_exposures as (
    select * from {{ ref('evalhouse', 'int_first_exposures') }}
),

phases as (
    select * from {{ ref('evalhouse', 'int_phases') }}
),

clustered_experiments as (
    select distinct experiment_id
    from first_exposures
    where cluster_id is not null
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
    clustered_experiments.experiment_id is not null as is_clustered,
    coalesce(phases.phase_number, 1) as phase_number,
    case
        when first_exposures.has_several_variations then 'several_variations'
        when clustered_experiments.experiment_id is not null and first_exposures.cluster_id is null
            then 'missing_cluster'
    end as excluded_by
from first_exposures
left join clustered_experiments on first_exposures.experiment_id = clustered_experiments.experiment_id
left join phases
    on first_exposures.experiment_id = phases.experiment_id
    and (phases.starts_at is null or first_exposures.first_exposed_at >= phases.starts_at)
    and (phases.ends_at is null or first_exposures.first_exposed_at < phases.ends_at)
