with exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
),

experiments as (
    select * from {{ ref('evalhouse', 'stg_experiments') }}
    where rejected_by is null
),

registered as (
    select * from {{ ref('evalhouse', 'stg_experiment_variations') }}
    where rejected_by is null
),

seen as (
    select
        experiment_id,
        variation_id,
        count(*) as units_first_seen
    from exposed_units
    group by experiment_id, variation_id
),

mentioned as (
    select
        experiment_id,
        variation_id
    from registered

    union all

    select
        experiment_id,
        variation_id
    from seen

    union all

    -- A control that nobody has seen yet is still the control.
    select
        experiment_id,
        control_variation_id as variation_id
    from experiments
    where
        control_variation_id is not null
        and experiment_id not in (select experiment_id from registered)
),

listed as (
    select distinct
        experiment_id,
        variation_id
    from mentioned
),

ranked as (
    select
        listed.experiment_id,
        listed.variation_id,
        registered.model_version,
        registered.prompt_version,
        registered.expected_weight,
        registered.variation_id is not null as is_registered,
        coalesce(seen.units_first_seen, 0) as units_first_seen,
        -- One missing weight makes the others meaningless: the split is then taken to be equal.
        min(case when registered.expected_weight is null then 0 else 1 end)
            over (partition by listed.experiment_id) as has_all_weights,
        sum(registered.expected_weight) over (partition by listed.experiment_id) as total_weight,
        count(*) over (partition by listed.experiment_id) as variations,
        row_number() over (
            partition by listed.experiment_id
            order by
                case
                    when listed.variation_id = experiments.control_variation_id then 1
                    when registered.is_control then 2
                    when lower(listed.variation_id) = 'control' then 3
                    else 4
                end,
                listed.variation_id
        ) as control_rank
    from listed
    left join registered
        on listed.experiment_id = registered.experiment_id
        and listed.variation_id = registered.variation_id
    left join seen
        on listed.experiment_id = seen.experiment_id
        and listed.variation_id = seen.variation_id
    left join experiments on listed.experiment_id = experiments.experiment_id
)

select
    experiment_id,
    variation_id,
    model_version,
    prompt_version,
    is_registered,
    units_first_seen,
    control_rank = 1 as is_control,
    case
        when has_all_weights = 1 and total_weight > 0 then expected_weight / total_weight
        else cast(1 as {{ evalhouse.type_double() }}) / variations
    end as expected_share
from ranked
