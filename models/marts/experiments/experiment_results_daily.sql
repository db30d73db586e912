with results as (
    select * from {{ ref('evalhouse', 'int_results') }}
    where look_date <> {{ evalhouse.current_look() }}
),

planned_looks as (
    select * from {{ ref('evalhouse', 'int_planned_looks') }}
),

-- Looks are planned for everyone, not for slices.
dated as (
    select
        *,
        case when dimension_name = 'all' then look_date end as planned_date
    from results
),

planned as (
    select
        dated.*,
        planned_looks.information_fraction,
        planned_looks.looks_reached,
        planned_looks.planned_look,
        planned_looks.has_boundaries,
        planned_looks.group_sequential_threshold,
        -- The effect at a look that crossed its boundary; 0 at looks that did not, and on all other days.
        case when dated.status = 'ok' and dated.p_value < planned_looks.group_sequential_threshold
            then dated.effect else 0 end as effect_beyond_boundary
    from dated
    left join planned_looks
        on dated.experiment_id = planned_looks.experiment_id
        and dated.planned_date = planned_looks.look_date
),

-- An effect found at a planned look stays found: the first crossing decides.
crossings as (
    select
        *,
        min(case when effect_beyond_boundary <> 0 then look_date end) over (
            partition by experiment_id, metric_name, dimension_name, dimension_value, variation_id
            order by look_date
            rows between unbounded preceding and current row
        ) as first_crossed_on
    from planned
),

decided as (
    select
        *,
        max(case when look_date = first_crossed_on then sign(effect_beyond_boundary) end) over (
            partition by experiment_id, metric_name, dimension_name, dimension_value, variation_id
            order by look_date
            rows between unbounded preceding and current row
        ) as crossed_side
    from crossings
)

select
    look_date as as_of_date,
    {{ evalhouse.result_columns() }},
    cast(information_fraction as {{ evalhouse.type_double() }}) as information_fraction,
    planned_look,
    cast(group_sequential_threshold as {{ evalhouse.type_double() }}) as group_sequential_threshold,
    cast(case
        when information_fraction is null then 'not_planned'
        when looks_reached = 0 then 'before_first_look'
        when crossed_side is not null and (crossed_side > 0) = (direction = 'increase') then 'better'
        when crossed_side is not null then 'worse'
        when not has_boundaries then 'no_boundaries'
        else 'inconclusive'
    end as {{ dbt.type_string() }}) as group_sequential_verdict
from decided
