{#- Totals over turns for every daily rate. -#}
{%- set slices = evalhouse.turn_slices() %}

with flags as (
    select * from {{ ref('evalhouse', 'int_turn_flags') }}
)

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
