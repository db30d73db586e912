{#- Totals over turns for every daily rate, and over units the squares and products that its variance needs. -#}
{%- set slices = evalhouse.turn_slices() -%}
{%- set key = 'turn_date, model_version, dimension_name, dimension_value' %}

with flags as (
    select * from {{ ref('evalhouse', 'int_turn_flags') }}
),

unit_days as (
    select * from {{ ref('evalhouse', 'int_unit_slice_days') }}
),

turn_sums as (
    select
        turn_date,
        model_version,
        {{ evalhouse.dimension_labels(slices) }},
        count(*) - count(latency_ms) as turns_without_latency,
        {%- for amount in ['input_tokens', 'output_tokens', 'cost_usd'] %}
        count({{ amount }}) as {{ amount }}__turns,
        sum(sample_weight * {{ amount }}) as {{ amount }}__total,
        sum(case when {{ amount }} is not null then sample_weight end) as {{ amount }}__weight,
        {%- endfor %}
        {%- for base in evalhouse.bases_of_rules(evalhouse.turn_rates()) %}
        count(case when {{ base.name }}__known then 1 end) as {{ base.name }}__turns,
        count(case when {{ base.name }}__awaited then 1 end) as {{ base.name }}__awaited,
        {%- endfor %}
        {%- for rate in evalhouse.turn_rates() %}
        count(case when {{ rate.name }}__event then 1 end) as {{ rate.name }}__turns{{ ',' if not loop.last }}
        {%- endfor %}
    from flags
    group by {{ evalhouse.dimension_grouping_sets(['turn_date', 'model_version'], slices) }}
),

-- Every turn weighs something: a unit whose turns with the thing weigh less than all of its turns has one without it.
unit_sums as (
    select
        {{ key }},
        {%- for base in evalhouse.bases_of_rules(evalhouse.turn_rates()) %}
        count(case when {{ base.name }}__weight > 0 then 1 end) as {{ base.name }}__units,
        sum({{ base.name }}__weight) as {{ base.name }}__weight,
        sum({{ base.name }}__weight * {{ base.name }}__weight) as {{ base.name }}__squares,
        {%- endfor %}
        {%- for rate in evalhouse.turn_rates() %}
        count(case when {{ rate.name }}__weight > 0 then 1 end) as {{ rate.name }}__units_with,
        count(case when {{ rate.name }}__weight < {{ rate.base }}__weight then 1 end) as {{ rate.name }}__units_without,
        sum({{ rate.name }}__weight) as {{ rate.name }}__weight,
        sum({{ rate.name }}__weight * {{ rate.name }}__weight) as {{ rate.name }}__squares,
        sum({{ rate.name }}__weight * {{ rate.base }}__weight) as {{ rate.name }}__products{{ ',' if not loop.last }}
        {%- endfor %}
    from unit_days
    group by {{ key }}
)

select
    turn_sums.*,
    {%- for base in evalhouse.bases_of_rules(evalhouse.turn_rates()) %}
    {%- for column in ['units', 'weight', 'squares'] %}
    unit_sums.{{ base.name }}__{{ column }},
    {%- endfor %}
    {%- endfor %}
    {%- for rate in evalhouse.turn_rates() %}
    {%- set last_rate = loop.last %}
    {%- for column in ['units_with', 'units_without', 'weight', 'squares', 'products'] %}
    unit_sums.{{ rate.name }}__{{ column }}{{ ',' if not (last_rate and loop.last) }}
    {%- endfor %}
    {%- endfor %}
from turn_sums
inner join unit_sums on {{ evalhouse.joined('turn_sums', 'unit_sums', key) }}
