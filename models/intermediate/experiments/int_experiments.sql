with exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
),

variations as (
    select * from {{ ref('evalhouse', 'int_experiment_variations') }}
),

registry as (
    select * from {{ ref('evalhouse', 'stg_experiments') }}
    where rejected_by is null
),

phased as (
    select
        experiment_id,
        max(phase_source) as phase_source
    from {{ ref('evalhouse', 'int_phases') }}
    group by experiment_id
),

now_of_the_data as (
    select
        max(as_of_at) as as_of_at,
        max(data_state) as data_state
    from {{ ref('evalhouse', 'int_watermarks') }}
),

controls as (
    select
        experiment_id,
        max(case when is_control then variation_id end) as control_variation_id,
        count(*) as variations
    from variations
    group by experiment_id
),

mentioned as (
    select experiment_id from controls

    union all

    select experiment_id from registry
),

listed as (
    select distinct experiment_id from mentioned
),

exposed as (
    select
        experiment_id,
        count(*) as units,
        sum(case when excluded_by is null then 1 else 0 end) as analysed_units,
        min(first_exposed_at) as first_exposed_at,
        max(last_exposed_at) as last_exposed_at,
        max(case when is_clustered then 1 else 0 end) as is_clustered,
        max(phase_number) as last_phase_number
    from exposed_units
    group by experiment_id
)

select
    listed.experiment_id,
    -- To group and join by in place of the text, within one statement: another run may number them otherwise.
    cast(row_number() over (order by listed.experiment_id) as {{ dbt.type_int() }}) as experiment_number,
    controls.control_variation_id,
    coalesce(controls.variations, 0) as variations,
    registry.experiment_id is not null as is_registered,
    coalesce(registry.stage, 'ab') as stage,
    coalesce(registry.alpha, {{ evalhouse.settings().analysis.alpha }}) as alpha,
    registry.started_at,
    registry.ended_at,
    registry.planned_units,
    registry.planned_looks,
    registry.registered_at,
    coalesce(exposed.units, 0) as units,
    coalesce(exposed.analysed_units, 0) as analysed_units,
    exposed.first_exposed_at,
    exposed.last_exposed_at,
    coalesce(exposed.is_clustered, 0) = 1 as is_clustered,
    exposed.last_phase_number,
    coalesce(phased.phase_source, 'none') as phase_source,
    now_of_the_data.as_of_at,
    now_of_the_data.data_state,
    -- Open-ended metrics count events until the experiment's end or the newest data.
    case
        when registry.ended_at < now_of_the_data.as_of_at then registry.ended_at
        else now_of_the_data.as_of_at
    end as horizon_at
from listed
cross join now_of_the_data
left join controls on listed.experiment_id = controls.experiment_id
left join registry on listed.experiment_id = registry.experiment_id
left join exposed on listed.experiment_id = exposed.experiment_id
left join phased on listed.experiment_id = phased.experiment_id
