with typed as (
    {{ evalhouse.typed_input('experiment_variations', {
        'experiment_id': 'text', 'variation_id': 'text', 'is_control': 'boolean', 'expected_weight': 'double',
        'model_version': 'text', 'prompt_version': 'text'
    }, required=['experiment_id', 'variation_id']) }}
),

repaired as (
    select
        experiment_id,
        variation_id,
        is_control,
        case when expected_weight >= 0 and expected_weight < 1e300 then expected_weight end as expected_weight,
        model_version,
        prompt_version,
        coalesce(not (expected_weight >= 0 and expected_weight < 1e300), false) as has_impossible_weight
    from typed
),

numbered as (
    select
        *,
        {{ evalhouse.first_of_key(
            ['experiment_id', 'variation_id'], 'expected_weight', ['is_control desc', 'model_version', 'prompt_version']
        ) }} as row_of_key
    from repaired
)

select
    experiment_id,
    variation_id,
    is_control,
    expected_weight,
    model_version,
    prompt_version,
    has_impossible_weight,
    case
        when experiment_id is null or variation_id is null then 'missing_key'
        when row_of_key > 1 then 'duplicate'
    end as rejected_by
from numbered
