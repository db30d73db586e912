{#- The days at whose end an experiment is looked at: from its first exposure to the last complete day, or until nothing
    can change after its end. One without an end is taken to be over 90 days after its last exposure. -#}
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

spans as (
    select
        experiment_id,
        cast(first_exposed_at as date) as first_date,
        cast({{ dbt.dateadd('day', -1, 'cast(as_of_at as date)') }} as date) as last_complete_date,
        cast({{ evalhouse.shifted(
            'coalesce(ended_at, ' ~ dbt.dateadd('day', 90, 'last_exposed_at') ~ ')', spans | max
        ) }} as date) as last_changing_date
    from experiments
),

looks as (
    select
        spans.experiment_id,
        spans.last_complete_date,
        spans.last_changing_date,
        cast({{ dbt.dateadd('day', 'day_numbers.day_number', 'spans.first_date') }} as date) as as_of_date
    from spans
    inner join day_numbers
        on day_numbers.day_number <= {{ dbt.datediff('spans.first_date', 'spans.last_complete_date', 'day') }}
)

select
    experiment_id,
    as_of_date,
    {{ dbt.dateadd('day', 1, 'cast(as_of_date as ' ~ dbt.type_timestamp() ~ ')') }} as look_ends_at
from looks
where
    as_of_date <= last_complete_date
    and as_of_date <= last_changing_date
