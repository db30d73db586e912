with typed as (
    {{ evalhouse.typed_input('experiment_phases', {
        'experiment_id': 'text', 'phase_started_at': 'timestamp', 'variation_id': 'text', 'expected_weight': 'double'
    }, required=['experiment_id', 'phase_started_at', 'variation_id', 'expected_weight']) }}
),

repaired as (
    select
        experiment_id,
        phase_started_at,
        variation_id,
        case when expected_weight >= 0 and expected_weight < 1e300 then expected_weight end as expected_weight
    from typed
),

numbered as (
    select
        *,
        {{ evalhouse.first_of_key(
            ['experiment_id', 'phase_started_at', 'variation_id'], 'expected_weight', []
        ) }} as row_of_key
    from repaired
)

select
    experiment_id,
    phase_started_at,
    variation_id,
    expected_weight,
    case
        when experiment_id is null or phase_started_at is null or variation_id is null then 'missing_key'
        when expected_weight is null then 'impossible_weight'
        when row_of_key > 1 then 'duplicate'
    end as rejected_by
from numbered
