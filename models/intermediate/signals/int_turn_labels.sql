{#- What is known about how good the answer was, apart from what the user did next: labels by people, tasks completed,
    ratings. The upper half of a label's scale counts as positive. -#}
{%- set has_scores = evalhouse.has_input('evaluation_scores') -%}
{%- set has_outcomes = evalhouse.has_input('outcomes') -%}
{%- set double = evalhouse.type_double() %}

with turns as (
    select * from {{ ref('evalhouse', 'turns') }}
)
{%- if has_scores %},

scores as (
    select * from {{ ref('evalhouse', 'int_evaluation_scores') }}
    where stage = 'online' and evaluator_kind = 'human' and score is not null and trace_id is not null
)
{%- endif %},

labels as (
    {%- if has_scores %}
    select
        trace_id,
        'human' as label_source,
        metric_name as label_name,
        avg(score) as label_value
    from scores
    group by trace_id, metric_name
    {%- endif %}
    {%- if has_outcomes %}
    {{ 'union all' if has_scores }}
    select
        trace_id,
        'outcome' as label_source,
        'task_complete' as label_name,
        cast(case when is_completed then 1 else 0 end as {{ double }}) as label_value
    from turns
    where is_outcome_mature and is_completed is not null

    union all

    select
        trace_id,
        'outcome' as label_source,
        'rating' as label_name,
        rating as label_value
    from turns
    where is_outcome_mature and rating is not null
    {%- endif %}
),

scaled as (
    select
        *,
        (
            min(label_value) over (partition by label_source, label_name)
            + max(label_value) over (partition by label_source, label_name)
        ) / 2 as label_middle
    from labels
)

select
    trace_id,
    label_source,
    label_name,
    label_value,
    label_middle,
    case when label_value > label_middle then 1 else 0 end as is_positive
from scaled
