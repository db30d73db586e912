with experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
)

select
    cast(experiment_id as {{ dbt.type_string() }}) as experiment_id,
    cast(control_variation_id as {{ dbt.type_string() }}) as control_variation_id,
    cast(variations as {{ dbt.type_bigint() }}) as variations,
    cast(stage as {{ dbt.type_string() }}) as stage,
    is_registered,
    is_clustered,
    cast(phase_source as {{ dbt.type_string() }}) as phase_source,
    cast(alpha as {{ evalhouse.type_double() }}) as alpha,
    started_at,
    ended_at,
    registered_at,
    cast(planned_units as {{ evalhouse.type_double() }}) as planned_units,
    cast(planned_looks as {{ evalhouse.type_double() }}) as planned_looks,
    cast(units as {{ dbt.type_bigint() }}) as units_exposed,
    first_exposed_at,
    last_exposed_at,
    as_of_at,
    cast(data_state as {{ dbt.type_string() }}) as data_state
from experiments
