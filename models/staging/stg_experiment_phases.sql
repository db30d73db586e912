with typed as (
    {{ evalhouse.typed_input('experiment_phases', {
        'experiment_id': 'text', 'phase_started_at': 'timestamp', 'variation_id': 'text', 'expected_weight': 'double'
    }, required=['experiment_id', 'phase_started_at', 'variation_id', 'expected_weight']) }}
),

numbered as (
    select
        *,
        {{ evalhouse.first_of_key(
            ['experiment_id', 'phase_started_at', 'variation_id'], 'expected_weight', []
        ) }} as row_of_key
    from typed
)

select
    experiment_id,
    phase_started_at,
    variation_id,
    expected_weight,
    case
        when experiment_id is null or phase_started_at is null or variation_id is null then 'missing_key'
        when expected_weight >= 0 and expected_weight < 1e300 then
            case when row_of_key > 1 then 'duplicate' end
        else 'impossible_weight'
    end as rejected_by
from numbered
