{#- What each day's failures and those of the seven days before it add up to, with the squares and products over units
    that the error of their difference needs: a unit that is there on both sides counts on both. -#}
{%- set slice = 'model_version, dimension_name, dimension_value' -%}
{%- set modes = evalhouse.failure_mode_rules() -%}
{%- set bases = modes | map(attribute='base') | unique | list -%}
{%- set names = bases + modes | map(attribute='name') | list %}

with sums as (
    select * from {{ ref('evalhouse', 'int_turn_rate_sums') }}
),

pairs_of_days as (
    select * from {{ ref('evalhouse', 'int_failure_overlaps') }}
    where dimension_name <> ''
),

numbers as (
    select * from {{ ref('evalhouse', 'numbers') }}
),

-- The square of a unit's sum over days is the sum of its squares by day, and twice its products of two days.
terms as (
    select
        turn_date,
        {{ slice }},
        0 as days_between,
        {%- for name in names %}
        {{ name }}__turns,
        {{ name }}__weight,
        {{ name }}__{{ 'units' if name in bases else 'units_with' }} as {{ name }}__units,
        {{ name }}__squares,
        {%- endfor %}
        {%- for mode in modes %}
        {{ mode.name }}__products as {{ mode.name }}__now_base_before,
        {{ mode.name }}__products as {{ mode.name }}__before_base_now{{ ',' if not loop.last }}
        {%- endfor %}
    from sums

    union all

    select
        turn_date,
        {{ slice }},
        days_between,
        {%- for name in names %}
        0 as {{ name }}__turns,
        0 as {{ name }}__weight,
        -- Counted on the earlier day already.
        -{{ name }}__units as {{ name }}__units,
        {{ name }}__now_before as {{ name }}__squares,
        {%- endfor %}
        {%- for mode in modes %}
        {{ mode.name }}__now_base_before,
        {{ mode.name }}__before_base_now{{ ',' if not loop.last }}
        {%- endfor %}
    from pairs_of_days
),

-- A day is set against itself (0 days later) and is one of the days before in the seven that follow; two days are both
-- among them for as long as the earlier one is.
of_days as (
    select
        terms.*,
        cast({{ evalhouse.time_added('day', 'numbers.n', 'terms.turn_date') }} as date) as failure_date,
        case
            when numbers.n > 0 then 'before'
            when terms.days_between > 0 then 'both'
            else 'now'
        end as side,
        case when terms.days_between > 0 then 2e0 else 1e0 end as times
    from terms
    inner join numbers on numbers.n <= 7 - terms.days_between
)

select
    of_days.failure_date,
    {{ evalhouse.qualified('of_days', slice) }},
    {%- for base in bases %}
    sum(case when of_days.side = 'now' then of_days.{{ base }}__units else 0 end) as {{ base }}__units_now,
    {%- endfor %}
    {%- for name in names %}
    sum(of_days.{{ name }}__units) as {{ name }}__units,
    {%- for suffix, side in [('', 'now'), ('_before', 'before')] %}
    sum(case when of_days.side = '{{ side }}' then of_days.{{ name }}__turns else 0 end)
        as {{ name }}__turns{{ suffix }},
    {%- endfor %}
    {%- for side in ['now', 'before'] %}
    sum(case when of_days.side = '{{ side }}' then of_days.{{ name }}__weight else 0e0 end) as {{ name }}__{{ side }},
    {%- endfor %}
    sum(case when of_days.side = 'now' then of_days.{{ name }}__squares else 0e0 end) as {{ name }}__now_now,
    sum(case when of_days.side = 'both' then of_days.{{ name }}__squares else 0e0 end) as {{ name }}__now_before,
    sum(case when of_days.side = 'before' then of_days.times * of_days.{{ name }}__squares else 0e0 end)
        as {{ name }}__before_before,
    {%- endfor %}
    {%- for mode in modes %}
    {%- set mode_base = 'of_days.' ~ mode.name ~ '__now_base_before' %}
    {%- set base_mode = 'of_days.' ~ mode.name ~ '__before_base_now' %}
    sum(case when of_days.side = 'now' then {{ mode_base }} else 0e0 end) as {{ mode.name }}__now_base_now,
    sum(case when of_days.side = 'both' then {{ mode_base }} else 0e0 end) as {{ mode.name }}__now_base_before,
    sum(case when of_days.side = 'both' then {{ base_mode }} else 0e0 end) as {{ mode.name }}__before_base_now,
    sum(case when of_days.side = 'before' then of_days.times * ({{ mode_base }} + {{ base_mode }}) / 2 else 0e0 end)
        as {{ mode.name }}__before_base_before{{ ',' if not loop.last }}
    {%- endfor %}
from of_days
inner join sums
    on of_days.failure_date = sums.turn_date
    and {{ evalhouse.joined('of_days', 'sums', slice) }}
group by of_days.failure_date, {{ evalhouse.qualified('of_days', slice) }}
