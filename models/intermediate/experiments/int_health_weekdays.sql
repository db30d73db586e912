{#- Behaviour has a weekly rhythm: an experiment that saw some weekdays more often than others answers for those. Days are
    24 hours from the first exposure on, complete ones only. -#}
{%- set string = dbt.type_string() -%}
{%- set bigint = dbt.type_bigint() -%}
{%- set double = evalhouse.type_double() -%}

with experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

observed as (
    select
        experiment_id,
        cast(floor({{ evalhouse.seconds_between('first_exposed_at', 'horizon_at') }} / 86400) as {{ double }}) as days
    from experiments
),

weeks as (
    select
        experiment_id,
        days,
        cast(floor(days / 7) as {{ double }}) as whole_weeks,
        days - 7 * floor(days / 7) as days_over
    from observed
),

-- How often the least seen weekday was observed, over how often the most seen one was.
evenness as (
    select
        *,
        case
            when whole_weeks < 1 then 0
            when days_over < 1 then 1
            else whole_weeks / (whole_weeks + 1)
        end as evenness
    from weeks
)

select
    experiment_id,
    'weekday_coverage' as check_name,
    'all' as scope,
    case
        when days is null then 'insufficient'
        when evenness < 0.6 then 'warn'
        else 'pass'
    end as status,
    case when days is not null then cast(evenness as {{ double }}) end as statistic,
    cast(null as {{ double }}) as p_value,
    cast(0.6 as {{ double }}) as threshold,
    case
        when days is null then 'no unit was exposed'
        else cast(cast(days as {{ bigint }}) as {{ string }}) || ' complete days since the first exposure: '
            || case
                when whole_weeks < 1 then 'some weekdays were never seen'
                when days_over < 1 then 'every weekday as often'
                else cast(cast(days_over as {{ bigint }}) as {{ string }}) || ' of 7 weekdays once more than the others'
            end
    end as detail
from evenness
