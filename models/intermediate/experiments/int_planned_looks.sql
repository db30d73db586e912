{#- How far an experiment has come towards its planned units at the end of each day, and the looks that it planned: look
    j of K is taken on the first day with j / K of the units, against the boundary that the plan spends there. -#}
with arm_looks as (
    select * from {{ ref('evalhouse', 'int_arm_looks_wide') }}
    where dimension_name = 'all'
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
    where planned_units > 0 and planned_looks >= 1
),

boundaries as (
    select * from {{ ref('evalhouse', 'group_sequential_boundaries') }}
    where spending = 'obrien_fleming'
),

fractions as (
    select
        arm_looks.experiment_id,
        arm_looks.look_date,
        min(experiments.alpha) as alpha,
        cast(floor(min(experiments.planned_looks)) as {{ dbt.type_bigint() }}) as planned_looks,
        cast(sum(arm_looks.analysed_units) / min(experiments.planned_units) as {{ evalhouse.type_double() }})
            as information_fraction
    from arm_looks
    inner join experiments on arm_looks.experiment_id = experiments.experiment_id
    group by arm_looks.experiment_id, arm_looks.look_date
),

reached as (
    select
        *,
        cast(floor(
            case when information_fraction < 1 then information_fraction else 1 end * planned_looks + 1e-9
        ) as {{ dbt.type_bigint() }}) as looks_reached
    from fractions
),

taken as (
    select
        *,
        max(looks_reached) over (
            partition by experiment_id
            order by look_date
            rows between unbounded preceding and 1 preceding
        ) as looks_before
    from reached
)

select
    taken.experiment_id,
    taken.look_date,
    taken.information_fraction,
    taken.looks_reached,
    case when taken.looks_reached > coalesce(taken.looks_before, 0) then taken.looks_reached end as planned_look,
    case
        when taken.looks_reached > coalesce(taken.looks_before, 0) then boundaries.nominal_p_value
    end as group_sequential_threshold,
    boundaries.alpha is not null as has_boundaries
from taken
left join boundaries
    on taken.alpha = boundaries.alpha
    and taken.planned_looks = boundaries.planned_looks
    and taken.looks_reached = boundaries.look_number
