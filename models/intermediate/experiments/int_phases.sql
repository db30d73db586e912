with exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
),

registered as (
    select distinct experiment_id
    from {{ ref('evalhouse', 'stg_experiment_phases') }}
    where rejected_by is null
),

phases as (
    select
        experiment_id,
        phase_number,
        min(first_exposed_at) as first_exposed_at,
        count(*) as units
    from exposed_units
    group by experiment_id, phase_number
)

select
    phases.experiment_id,
    phases.phase_number,
    phases.first_exposed_at,
    phases.units,
    case
        when registered.experiment_id is not null then 'declared'
        when max(phases.phase_number) over (partition by phases.experiment_id) > 1 then 'detected'
        else 'none'
    end as phase_source
from phases
left join registered on phases.experiment_id = registered.experiment_id
