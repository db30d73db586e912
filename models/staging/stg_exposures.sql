{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set columns = {
    'experiment_id': 'text', 'variation_id': 'text', 'unit_id': 'text', 'exposed_at': 'timestamp', 'cluster_id': 'text',
    'exposure_kind': 'text', 'session_id': 'text', 'trace_id': 'text', 'loaded_at': 'timestamp'
} -%}
{%- for dimension in dimensions -%}
    {%- do columns.update({dimension.name: 'text'}) -%}
{%- endfor -%}

with experiments as (
    select * from {{ ref('evalhouse', 'stg_experiments') }}
    where rejected_by is null
),

variations as (
    select * from {{ ref('evalhouse', 'stg_experiment_variations') }}
    where rejected_by is null
),

experiments_with_variations as (
    select distinct experiment_id from variations
),

typed as (
    {{ evalhouse.typed_input(
        'exposures', columns, required=['experiment_id', 'variation_id', 'unit_id', 'exposed_at']
    ) }}
),

classified as (
    select
        typed.experiment_id,
        typed.variation_id,
        typed.unit_id,
        typed.exposed_at,
        typed.cluster_id,
        coalesce(lower(typed.exposure_kind), 'served') as exposure_kind,
        typed.session_id,
        typed.trace_id,
        typed.loaded_at,
        {%- for dimension in dimensions %}
        coalesce(typed.{{ dimension.name }}, '(missing)') as {{ dimension.name }},
        {%- endfor %}
        experiments.stage,
        experiments.started_at,
        experiments.ended_at,
        experiments_with_variations.experiment_id is not null and variations.variation_id is null
            as is_unknown_variation
    from typed
    left join experiments on typed.experiment_id = experiments.experiment_id
    left join experiments_with_variations on typed.experiment_id = experiments_with_variations.experiment_id
    left join variations
        on typed.experiment_id = variations.experiment_id
        and typed.variation_id = variations.variation_id
)

select
    experiment_id,
    variation_id,
    unit_id,
    exposed_at,
    cluster_id,
    exposure_kind,
    session_id,
    trace_id,
    {%- for dimension in dimensions %}
    {{ dimension.name }},
    {%- endfor %}
    loaded_at,
    case
        when experiment_id is null or variation_id is null or unit_id is null or exposed_at is null then 'missing_key'
        when exposed_at > {{ evalhouse.time_added('day', 1, 'loaded_at') }} then 'after_load'
        when exposed_at > {{ evalhouse.as_of_literal() }} then 'after_as_of'
        when exposure_kind = 'shadow' then 'shadow'
        -- Only a holdout experiment compares the people who were held out with the others.
        when exposure_kind = 'holdout' and coalesce(stage, '') <> 'holdout' then 'held_out'
        when exposure_kind not in ('served', 'holdout') then 'unknown_exposure_kind'
        when is_unknown_variation then 'unknown_variation'
        when exposed_at < started_at or exposed_at > ended_at then 'outside_experiment'
    end as rejected_by
from classified
