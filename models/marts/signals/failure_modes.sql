{#- How often answers fail in each way, by day, model version and slice, and whether that is changing. -#}
{%- set key = 'model_version, dimension_name, dimension_value' -%}
{%- set rules = evalhouse.failure_mode_rules() -%}
{%- set behaviour = ['rephrasing', 'retrying', 'departure', 'outcome', 'day'] %}

with rates as (
    select * from {{ ref('evalhouse', 'int_turn_rates') }}
    where rate_name in ('{{ rules | map(attribute='name') | join("', '") }}')
),

trends as (
    select * from {{ ref('evalhouse', 'int_failure_trends') }}
)

select
    rates.turn_date as failure_date,
    rates.model_version,
    rates.rate_name as failure_mode,
    rates.dimension_name,
    rates.dimension_value,
    rates.turns_known as turns,
    rates.turns_awaited as turns_immature,
    rates.events as failures,
    rates.units,
    rates.rate,
    rates.ci_lower,
    rates.ci_upper,
    trends.previous_turns,
    trends.previous_rate,
    trends.change as rate_change,
    trends.p_value,
    trends.p_value_adjusted,
    trends.trend,
    trends.refused_because as trend_reason,
    case rates.rate_name
        {%- for rule in rules %}
        when '{{ rule.name }}' then {{ loop.index }}
        {%- endfor %}
    end as severity,
    rates.rate_name in (
        '{{ rules | selectattr('base', 'in', behaviour) | map(attribute='name') | join("', '") }}'
    ) as is_behaviour,
    rates.is_complete,
    rates.status,
    rates.status_reason
from rates
inner join trends
    on rates.turn_date = trends.failure_date
    and rates.rate_name = trends.failure_mode
    and {{ evalhouse.joined('rates', 'trends', key) }}
