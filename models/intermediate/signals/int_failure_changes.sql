{#- What each day's failures and those of the seven days before it add up to, with the squares and products over units
    that the error of their difference needs: a unit that is there on both sides counts on both. -#}
{%- set slice = 'model_version, dimension_name, dimension_value' -%}
{%- set modes = evalhouse.failure_mode_rules() -%}
{%- set bases = modes | map(attribute='base') | unique | list -%}
{%- set names = bases + modes | map(attribute='name') | list -%}
{%- set double = evalhouse.type_double() %}

with unit_days as (
    select * from {{ ref('evalhouse', 'int_unit_turn_days') }}
),

sums as (
    select * from {{ ref('evalhouse', 'int_turn_rate_sums') }}
),

numbers as (
    select * from {{ ref('evalhouse', 'numbers') }}
),

-- A day is set against itself (0 days later) and is one of the days before in the seven that follow.
days_after as (
    select n as days_later
    from numbers
    where n <= 7
),

counted as (
    select
        cast({{ dbt.dateadd('day', 'days_after.days_later', 'unit_days.turn_date') }} as date) as failure_date,
        {{ evalhouse.qualified('unit_days', slice) }},
        unit_days.unit_id,
        {%- for name in names %}
        case when days_after.days_later = 0 then unit_days.{{ name }}__turns else 0 end as {{ name }}__turns,
        case when days_after.days_later = 0 then unit_days.{{ name }}__weight else 0 end as {{ name }}__now,
        case when days_after.days_later > 0 then unit_days.{{ name }}__turns else 0 end as {{ name }}__turns_before,
        case when days_after.days_later > 0 then unit_days.{{ name }}__weight else 0 end as {{ name }}__before
        {{- ',' if not loop.last }}
        {%- endfor %}
    from unit_days
    cross join days_after
),

of_days as (
    select counted.*
    from counted
    inner join sums
        on counted.failure_date = sums.turn_date
        and {{ evalhouse.joined('counted', 'sums', slice) }}
),

by_unit as {{ evalhouse.materialized() }} (
    select
        failure_date,
        {{ slice }},
        unit_id,
        {%- for name in names %}
        sum({{ name }}__turns) as {{ name }}__turns,
        cast(sum({{ name }}__now) as {{ double }}) as {{ name }}__now,
        sum({{ name }}__turns_before) as {{ name }}__turns_before,
        cast(sum({{ name }}__before) as {{ double }}) as {{ name }}__before{{ ',' if not loop.last }}
        {%- endfor %}
    from of_days
    group by failure_date, {{ slice }}, unit_id
)

select
    failure_date,
    {{ slice }},
    {%- for base in bases %}
    count(case when {{ base }}__turns > 0 then 1 end) as {{ base }}__units_now,
    count(case when {{ base }}__turns + {{ base }}__turns_before > 0 then 1 end) as {{ base }}__units,
    {%- endfor %}
    {%- for name in names %}
    sum({{ name }}__turns) as {{ name }}__turns,
    sum({{ name }}__turns_before) as {{ name }}__turns_before,
    sum({{ name }}__now) as {{ name }}__now,
    sum({{ name }}__before) as {{ name }}__before,
    sum({{ name }}__now * {{ name }}__now) as {{ name }}__now_now,
    sum({{ name }}__now * {{ name }}__before) as {{ name }}__now_before,
    sum({{ name }}__before * {{ name }}__before) as {{ name }}__before_before,
    {%- endfor %}
    {%- for mode in modes %}
    count(case when {{ mode.name }}__turns + {{ mode.name }}__turns_before > 0 then 1 end) as {{ mode.name }}__units,
    sum({{ mode.name }}__now * {{ mode.base }}__now) as {{ mode.name }}__now_base_now,
    sum({{ mode.name }}__now * {{ mode.base }}__before) as {{ mode.name }}__now_base_before,
    sum({{ mode.name }}__before * {{ mode.base }}__now) as {{ mode.name }}__before_base_now,
    sum({{ mode.name }}__before * {{ mode.base }}__before) as {{ mode.name }}__before_base_before
    {{- ',' if not loop.last }}
    {%- endfor %}
from by_unit
group by failure_date, {{ slice }}
