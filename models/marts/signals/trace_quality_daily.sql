{#- How the answers were served, by day, model version and slice: latency, tokens, cost, failures. -#}
{%- set key = 'turn_date, model_version, dimension_name, dimension_value' -%}
{%- set rate_names = ['error', 'timeout', 'refusal', 'cancelled', 'over_render_limit'] -%}
{%- set quantiles = ['p50', 'p95', 'p99'] -%}
{%- set fewest_latencies = 10 -%}
{%- set double = evalhouse.type_double() %}

with sums as (
    select * from {{ ref('evalhouse', 'int_turn_rate_sums') }}
),

turn_rates as (
    select * from {{ ref('evalhouse', 'int_turn_rates') }}
),

latency as (
    select * from {{ ref('evalhouse', 'int_latency_quantiles') }}
    where measure = 'latency_ms'
),

ttft as (
    select * from {{ ref('evalhouse', 'int_latency_quantiles') }}
    where measure = 'ttft_ms'
),

rates as (
    select
        {{ key }},
        max(case when rate_name = 'error' then units end) as units,
        max(case when rate_name = 'error' and is_complete then 1 else 0 end) = 1 as is_complete
        {%- for name in rate_names %},
        max(case when rate_name = '{{ name }}' then rate end) as {{ name }}_rate,
        max(case when rate_name = '{{ name }}' then ci_lower end) as {{ name }}_ci_lower,
        max(case when rate_name = '{{ name }}' then ci_upper end) as {{ name }}_ci_upper
        {%- endfor %}
    from turn_rates
    where rate_name in ('{{ rate_names | join("', '") }}')
    group by {{ key }}
),

-- A log that changes from seconds to milliseconds, or back, moves the median by a thousand from one day to the next.
medians as (
    select
        {{ key }},
        p50,
        lag(p50) over (
            partition by model_version, dimension_name, dimension_value order by turn_date
        ) as previous_p50
    from latency
    where turns_measured >= {{ fewest_latencies }}
),

jumps as (
    select
        *,
        case
            when p50 between 400 * previous_p50 and 2500 * previous_p50 and previous_p50 > 0 then 1
            when previous_p50 between 400 * p50 and 2500 * p50 and p50 > 0 then -1
            else 0
        end as jump
    from medians
),

scales as (
    select
        *,
        -- Until it jumps back: the days after the change are as doubtful as the first.
        sum(jump) over (
            partition by model_version, dimension_name, dimension_value order by turn_date
            rows between unbounded preceding and current row
        ) as thousands
    from jumps
),

joined as (
    select
        {{ evalhouse.qualified('sums', key) }},
        sums.logged__turns as traces,
        sums.logged__weight as weight,
        sums.turns_without_latency,
        {%- for amount in ['input_tokens', 'output_tokens', 'cost_usd'] %}
        sums.{{ amount }}__turns,
        sums.{{ amount }}__total,
        sums.{{ amount }}__weight,
        {%- endfor %}
        rates.units,
        rates.is_complete,
        {%- for name in rate_names %}
        rates.{{ name }}_rate,
        rates.{{ name }}_ci_lower,
        rates.{{ name }}_ci_upper,
        {%- endfor %}
        {%- for name in quantiles %}
        latency.{{ name }} as latency_{{ name }},
        latency.{{ name }}_ci_lower as latency_{{ name }}_ci_lower,
        latency.{{ name }}_ci_upper as latency_{{ name }}_ci_upper,
        latency.{{ name }}_refused_because,
        {%- endfor %}
        ttft.p50 as ttft_p50,
        ttft.p95 as ttft_p95,
        coalesce(ttft.turns_measured, 0) as ttft__turns,
        coalesce(scales.thousands, 0) <> 0 as is_unit_changed
    from sums
    inner join rates on {{ evalhouse.joined('sums', 'rates', key) }}
    left join latency on {{ evalhouse.joined('sums', 'latency', key) }}
    left join ttft on {{ evalhouse.joined('sums', 'ttft', key) }}
    left join scales on {{ evalhouse.joined('sums', 'scales', key) }}
)

select
    turn_date as trace_date,
    model_version,
    dimension_name,
    dimension_value,
    cast(traces as {{ dbt.type_bigint() }}) as traces,
    units,
    {%- for name in quantiles %}
    latency_{{ name }},
    latency_{{ name }}_ci_lower,
    latency_{{ name }}_ci_upper,
    {%- endfor %}
    ttft_p50,
    ttft_p95,
    {%- for amount in ['input_tokens', 'output_tokens', 'cost_usd'] %}
    {{ amount }}__total as {{ amount }},
    {{ amount }}__total / nullif({{ amount }}__weight, 0) as {{ amount }}_mean,
    {%- endfor %}
    {%- for name in rate_names %}
    {{ name }}_rate,
    {{ name }}_ci_lower,
    {{ name }}_ci_upper,
    {%- endfor %}
    cast(turns_without_latency as {{ dbt.type_bigint() }}) as traces_without_latency,
    cast(traces - ttft__turns as {{ dbt.type_bigint() }}) as traces_without_ttft,
    {%- for amount in ['input_tokens', 'output_tokens', 'cost_usd'] %}
    cast(traces - {{ amount }}__turns as {{ dbt.type_bigint() }}) as traces_without_{{ amount }},
    {%- endfor %}
    is_complete,
    case
        when is_unit_changed then 'suspect'
        when units < 2 or latency_p50 is null then 'insufficient'
        else 'ok'
    end as status,
    case
        when is_unit_changed then 'latency_unit_changed'
        when units < 2 then 'fewer_than_two_units'
        when latency_p50 is null then 'no_latency'
        {%- for name in quantiles %}
        when {{ name }}_refused_because is not null then {{ name }}_refused_because || '_for_{{ name }}'
        {%- endfor %}
    end as status_reason
from joined
