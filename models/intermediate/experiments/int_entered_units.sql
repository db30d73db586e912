{#- Units that count, or did until they saw a second variation, as they were when they entered: what comes later than
    the lookback does not make another unit of them. When they leave is what the exposures say now. -#}
{{ config(materialized='ephemeral') }}
{%- set totals = evalhouse.metric_plan().totals | selectattr('period', 'equalto', 'before') | list -%}
{%- set attributes = ['first_exposed_at', 'variation_id', 'phase_number', 'cluster_id']
    + evalhouse.exposure_dimensions() | map(attribute='name') | list -%}

with baselines as (
    select * from {{ ref('evalhouse', 'int_unit_baselines') }}
    where unit_id <> ''
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

second_variations as (
    select
        experiment_id,
        unit_id,
        second_variation_at
    from {{ ref('evalhouse', 'int_exposed_units') }}
    -- Rather than "is not null", of which an engine expects more units than there are, and hashes all the others.
    where second_variation_at >= first_exposed_at
)

select
    baselines.experiment_id,
    baselines.unit_id,
    baselines.entry_date,
    {%- for attribute in attributes %}
    baselines.{{ attribute }},
    {%- endfor %}
    second_variations.second_variation_at,
    experiments.is_clustered,
    experiments.horizon_at,
    experiments.as_of_at
    {%- for total in totals %},
    baselines.{{ total.name }}
    {%- endfor %}
from baselines
inner join experiments on baselines.experiment_id = experiments.experiment_id
left join second_variations
    on baselines.experiment_id = second_variations.experiment_id
    and baselines.unit_id = second_variations.unit_id
where not experiments.is_clustered or baselines.cluster_id is not null
