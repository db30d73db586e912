{#- A funnel is reached when its steps happen in order, each within its window of the step before. The latest valid
    earlier step is the best predecessor, so one ordered pass per step is exact, also for repeated steps. -#}
{%- set funnels = evalhouse.metric_plan().metrics | selectattr('type', 'equalto', 'funnel') | list -%}
{%- set facts = funnels | map(attribute='fact') | unique | list -%}

with units as (
    select * from {{ ref('evalhouse', 'int_entered_units') }}
)

{%- for fact in facts %}
{%- set measures = evalhouse.funnel_measures() | selectattr('fact', 'equalto', fact) | list %},

{{ fact }}_steps as {{ evalhouse.materialized() }} (
    {{ evalhouse.fact_measures(fact, measures) | indent(4) }}
)
{%- endfor %}

{%- for metric in funnels %}
{%- set steps = metric.steps | length %},

{{ metric.name }}__step_1 as (
    select
        units.experiment_id,
        units.unit_id,
        facts.fact_time,
        {%- for number in range(2, steps + 1) %}
        facts.{{ metric.name }}__s{{ number }} as s{{ number }},
        {%- endfor %}
        -- At equal times the earlier step goes first; a row is never its own predecessor.
        row_number() over (
            partition by units.experiment_id, units.unit_id
            order by facts.fact_time
            {%- for number in range(1, steps + 1) %}, facts.{{ metric.name }}__s{{ number }} nulls last{% endfor %}
        ) as row_of_unit,
        case
            when facts.{{ metric.name }}__s1 = 1
            {%- if metric.steps[0].window_hours is not none %}
                and facts.fact_time <= {{ evalhouse.shifted(
                    'units.first_exposed_at', metric.start_seconds + (metric.steps[0].window_hours * 3600) | round | int
                ) }}
            {%- endif %}
                then facts.fact_time
        end as reached_at
    from units
    inner join {{ metric.fact }}_steps as facts on units.unit_id = facts.fact_unit_id
    where
        (
            {%- for number in range(1, steps + 1) %}
            {{ 'or ' if not loop.first }}facts.{{ metric.name }}__s{{ number }} = 1
            {%- endfor %}
        )
        and {{ evalhouse.period_condition(
            {'period': 'after', 'delay': metric.start_seconds, 'window': metric.span_seconds},
            'facts.fact_time', 'units.first_exposed_at', 'units.horizon_at'
        ) }}
)
{%- for number in range(2, steps + 1) %}
{%- set window = metric.steps[number - 1].window_hours %},

{{ metric.name }}__before_{{ number }} as (
    select
        *,
        max(reached_at) over (
            partition by experiment_id, unit_id
            order by row_of_unit
            rows between unbounded preceding and 1 preceding
        ) as previous_at
    from {{ metric.name }}__step_{{ number - 1 }}
),

{{ metric.name }}__step_{{ number }} as (
    select
        experiment_id,
        unit_id,
        fact_time,
        {%- for later in range(number + 1, steps + 1) %}
        s{{ later }},
        {%- endfor %}
        row_of_unit,
        case
            when s{{ number }} = 1 and previous_at is not null
            {%- if window is not none %}
                and fact_time <= {{ evalhouse.shifted('previous_at', (window * 3600) | round | int) }}
            {%- endif %}
                then fact_time
        end as reached_at
    from {{ metric.name }}__before_{{ number }}
)
{%- endfor %},

{{ metric.name }}__reached as (
    select
        experiment_id,
        unit_id,
        min(reached_at) as reached_at
    from {{ metric.name }}__step_{{ steps }}
    where reached_at is not null
    group by experiment_id, unit_id
)
{%- endfor %}

{% if funnels -%}
select
    units.experiment_id,
    units.unit_id
    {%- for metric in funnels %},
    {{ metric.name }}__reached.reached_at as {{ metric.name }}__reached_at
    {%- endfor %}
from units
{%- for metric in funnels %}
left join {{ metric.name }}__reached
    on units.experiment_id = {{ metric.name }}__reached.experiment_id
    and units.unit_id = {{ metric.name }}__reached.unit_id
{%- endfor %}
{%- else -%}
select
    experiment_id,
    unit_id
from units
where 1 = 0
{%- endif %}
