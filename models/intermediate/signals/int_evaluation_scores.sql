{#- One row per score: of several of an id the latest evaluation. -#}
{%- set columns = [
    'score_id', 'stage', 'evaluator_kind', 'metric_name', 'score', 'evaluated_at', 'case_id', 'trace_id', 'eval_run_id',
    'model_version', 'evaluator_id', 'evaluator_version', 'rubric_version', 'repetition', 'sampling_probability',
    'label', 'error'
] -%}
{%- set tie_breakers = columns | reject('in', ['score_id', 'evaluated_at']) | list %}

with scores as (
    select * from {{ ref('evalhouse', 'stg_evaluation_scores') }}
    where rejected_by is null
),

numbered as (
    select
        *,
        {{ evalhouse.first_of_key(['score_id'], 'evaluated_at', tie_breakers) }} as row_of_key
    from scores
)

select
    {{ columns | join(',\n    ') }}
from numbered
where row_of_key = 1
