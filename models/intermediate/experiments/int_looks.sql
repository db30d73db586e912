{#- The days at whose end an experiment is looked at: from its first exposure to the last complete day, or until nothing
    can change after its end. One without an end rests from 90 days after an exposure until the next one. -#}
{%- set spans = [0] -%}
{%- for metric in evalhouse.metric_plan().metrics -%}
    {%- do spans.append(metric.start_seconds + (metric.span_seconds or 0)) -%}
{%- endfor -%}

with experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
    where first_exposed_at is not null
),

numbers as (
    select * from {{ ref('evalhouse', 'numbers') }}
),

day_numbers as (
    select 256 * blocks.n + days.n as day_number
    from numbers as blocks
    cross join numbers as days
),

exposure_dates as (
    select distinct
        experiment_id,
        cast(first_exposed_at as date) as exposure_date
    from {{ ref('evalhouse', 'int_exposed_units') }}
),

spans as (
    select
        experiment_id,
        ended_at is null as is_open_ended,
        cast(first_exposed_at as date) as first_date,
        cast({{ evalhouse.time_added('day', -1, 'cast(as_of_at as date)') }} as date) as last_complete_date,
        cast({{ evalhouse.shifted('ended_at', spans | max) }} as date) as last_changing_date
    from experiments
),

days as (
    select
        spans.experiment_id,
        spans.is_open_ended,
        spans.last_complete_date,
        spans.last_changing_date,
        cast({{ evalhouse.time_added('day', 'day_numbers.day_number', 'spans.first_date') }} as date) as as_of_date
    from spans
    inner join day_numbers
        on day_numbers.day_number <= {{ dbt.datediff('spans.first_date', 'spans.last_complete_date', 'day') }}
),

looks as (
    select
        days.*,
        max(exposure_dates.exposure_date) over (
            partition by days.experiment_id
            order by days.as_of_date
            rows between unbounded preceding and current row
        ) as last_exposure_date
    from days
    left join exposure_dates
        on days.experiment_id = exposure_dates.experiment_id
        and days.as_of_date = exposure_dates.exposure_date
)

select
    experiment_id,
    as_of_date,
    {{ evalhouse.time_added('day', 1, 'cast(as_of_date as ' ~ dbt.type_timestamp() ~ ')') }} as look_ends_at
from looks
where
    as_of_date <= last_complete_date
    and (last_changing_date is null or as_of_date <= last_changing_date)
    and (
        not is_open_ended
        or {{ dbt.datediff('last_exposure_date', 'as_of_date', 'day') }}
        <= {{ 90 + ((spans | max) / 86400) | round(0, 'ceil') | int }}
    )
