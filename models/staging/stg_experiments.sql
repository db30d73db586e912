with typed as (
    {{ evalhouse.typed_input('experiments', {
        'experiment_id': 'text', 'control_variation_id': 'text', 'started_at': 'timestamp', 'ended_at': 'timestamp',
        'stage': 'text', 'alpha': 'double', 'planned_units': 'double', 'planned_looks': 'double',
        'registered_at': 'timestamp', 'has_start': 'presence_of:started_at', 'has_end': 'presence_of:ended_at'
    }, required=['experiment_id']) }}
),

repaired as (
    select
        experiment_id,
        control_variation_id,
        started_at,
        case when started_at is null or ended_at >= started_at then ended_at end as ended_at,
        lower(stage) as stage,
        case when alpha > 0 and alpha < 0.5 then alpha end as alpha,
        case when planned_units > 0 then planned_units end as planned_units,
        case when planned_looks >= 1 then planned_looks end as planned_looks,
        registered_at,
        coalesce(ended_at < started_at, false) as has_end_before_start,
        (has_start and started_at is null) or (has_end and ended_at is null) as has_unreadable_date,
        coalesce(not (alpha > 0 and alpha < 0.5), false) as has_impossible_alpha,
        {{ evalhouse.first_of_key(
            ['experiment_id'], 'registered_at', [
                'started_at desc', 'ended_at desc', 'control_variation_id', 'alpha', 'stage', 'planned_units',
                'planned_looks'
            ]
        ) }} as row_of_key
    from typed
)

select
    experiment_id,
    control_variation_id,
    started_at,
    ended_at,
    stage,
    alpha,
    planned_units,
    planned_looks,
    registered_at,
    has_end_before_start,
    has_unreadable_date,
    has_impossible_alpha,
    case
        when experiment_id is null then 'missing_key'
        when row_of_key > 1 then 'duplicate'
    end as rejected_by
from repaired
