{#- What the turns of a unit add to every daily rate, one pass over the turns: by day, model version and slice. -#}
{%- set slices = evalhouse.turn_slices() -%}
{%- set amounts = ['input_tokens', 'output_tokens', 'cost_usd'] -%}
{%- set key = ['turn_date', 'model_version', 'unit_id'] %}

with turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

repeated_turns as (
    select * from {{ ref('evalhouse', 'int_repeated_turns') }}
),

watched as (
    select
        turns.*,
        coalesce(repeated_turns.repeats_in_a_row, 0) as repeats_in_a_row
    from turns
    left join repeated_turns on turns.trace_id = repeated_turns.trace_id
),

judged as {{ evalhouse.materialized() }} (
    select
        cast(started_at as date) as turn_date,
        coalesce(model_version, '(missing)') as model_version,
        unit_id,
        {%- for slice in slices %}
        coalesce(cast({{ slice.name }} as {{ dbt.type_string() }}), '(missing)') as {{ slice.name }},
        {%- endfor %}
        sample_weight,
        case when latency_ms is null then 1 else 0 end as without_latency,
        {%- for amount in amounts %}
        {{ amount }},
        {%- endfor %}
        {%- for base in evalhouse.turn_bases_in_use() %}
        case when {{ base.known }} then 1 else 0 end as {{ base.name }}__known,
        case when {{ base.awaited }} then 1 else 0 end as {{ base.name }}__awaited,
        {%- endfor %}
        {%- for rate in evalhouse.turn_rates() %}
        case when {{ evalhouse.known_condition(rate) }} then 1 else 0 end as {{ rate.name }}__event
        {{- ',' if not loop.last }}
        {%- endfor %}
    from watched
)

select
    turn_date,
    model_version,
    {{ evalhouse.dimension_labels(slices) }},
    unit_id,
    cast(sum(without_latency) as {{ dbt.type_bigint() }}) as turns_without_latency,
    {%- for amount in amounts %}
    count({{ amount }}) as {{ amount }}__turns,
    sum(sample_weight * {{ amount }}) as {{ amount }}__total,
    sum(case when {{ amount }} is not null then sample_weight end) as {{ amount }}__weight,
    {%- endfor %}
    {%- for base in evalhouse.turn_bases_in_use() %}
    cast(sum({{ base.name }}__known) as {{ dbt.type_bigint() }}) as {{ base.name }}__turns,
    cast(sum({{ base.name }}__awaited) as {{ dbt.type_bigint() }}) as {{ base.name }}__awaited,
    sum(sample_weight * {{ base.name }}__known) as {{ base.name }}__weight,
    {%- endfor %}
    {%- for rate in evalhouse.turn_rates() %}
    cast(sum({{ rate.name }}__event) as {{ dbt.type_bigint() }}) as {{ rate.name }}__turns,
    sum(sample_weight * {{ rate.name }}__event) as {{ rate.name }}__weight{{ ',' if not loop.last }}
    {%- endfor %}
from judged
group by {{ evalhouse.dimension_grouping_sets(key, slices) }}
