{#- Totals over units of what they add to every daily rate, and of the squares and products that its variance needs. -#}

with unit_days as (
    select * from {{ ref('evalhouse', 'int_unit_turn_days') }}
)

select
    turn_date,
    model_version,
    dimension_name,
    dimension_value,
    sum(turns_without_latency) as turns_without_latency,
    {%- for amount in ['input_tokens', 'output_tokens', 'cost_usd'] %}
    sum({{ amount }}__turns) as {{ amount }}__turns,
    sum({{ amount }}__total) as {{ amount }}__total,
    sum({{ amount }}__weight) as {{ amount }}__weight,
    {%- endfor %}
    {%- for base in evalhouse.turn_bases_in_use() %}
    sum({{ base.name }}__turns) as {{ base.name }}__turns,
    sum({{ base.name }}__awaited) as {{ base.name }}__awaited,
    count(case when {{ base.name }}__turns > 0 then 1 end) as {{ base.name }}__units,
    sum({{ base.name }}__weight) as {{ base.name }}__weight,
    sum({{ base.name }}__weight * {{ base.name }}__weight) as {{ base.name }}__squares,
    {%- endfor %}
    {%- for rate in evalhouse.turn_rates() %}
    sum({{ rate.name }}__turns) as {{ rate.name }}__turns,
    count(case when {{ rate.name }}__turns > 0 then 1 end) as {{ rate.name }}__units_with,
    count(case when {{ rate.name }}__turns < {{ rate.base }}__turns then 1 end) as {{ rate.name }}__units_without,
    sum({{ rate.name }}__weight) as {{ rate.name }}__weight,
    sum({{ rate.name }}__weight * {{ rate.name }}__weight) as {{ rate.name }}__squares,
    sum({{ rate.name }}__weight * {{ rate.base }}__weight) as {{ rate.name }}__products{{ ',' if not loop.last }}
    {%- endfor %}
from unit_days
group by turn_date, model_version, dimension_name, dimension_value
