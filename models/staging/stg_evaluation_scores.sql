{%- set columns = {
    'score_id': 'text', 'stage': 'text', 'evaluator_kind': 'text', 'metric_name': 'text', 'score': 'double',
    'evaluated_at': 'timestamp', 'case_id': 'text', 'trace_id': 'text', 'eval_run_id': 'text', 'model_version': 'text',
    'evaluator_id': 'text', 'evaluator_version': 'text', 'rubric_version': 'text', 'repetition': 'double',
    'sampling_probability': 'double', 'label': 'text', 'error': 'text', 'has_score': 'presence_of:score'
} %}

with typed as (
    {{ evalhouse.typed_input(
        'evaluation_scores', columns,
        required=['score_id', 'stage', 'evaluator_kind', 'metric_name', 'score', 'evaluated_at']
    ) }}
)

select
    score_id,
    lower(stage) as stage,
    lower(evaluator_kind) as evaluator_kind,
    metric_name,
    -- An evaluation that failed has no score; least of all zero.
    case when error is null and score between -1e35 and 1e35 then score end as score,
    evaluated_at,
    case_id,
    trace_id,
    eval_run_id,
    model_version,
    evaluator_id,
    evaluator_version,
    rubric_version,
    case
        when repetition between 0 and 1e15 then cast(repetition as {{ dbt.type_bigint() }})
        else 0
    end as repetition,
    case when sampling_probability > 0 and sampling_probability <= 1 then sampling_probability end
        as sampling_probability,
    label,
    error,
    error is not null as has_error,
    error is null and has_score and coalesce(not (score between -1e35 and 1e35), true) as has_unusable_score,
    sampling_probability is not null and not (sampling_probability > 0 and sampling_probability <= 1)
        as has_impossible_probability,
    case
        when score_id is null or stage is null or evaluator_kind is null or metric_name is null or evaluated_at is null
            then 'missing_key'
        when lower(stage) not in ('offline', 'shadow', 'online') then 'unknown_stage'
        when lower(evaluator_kind) not in ('human', 'llm_judge', 'code') then 'unknown_evaluator_kind'
        when evaluated_at > {{ evalhouse.as_of_literal() }} then 'after_as_of'
    end as rejected_by
from typed
