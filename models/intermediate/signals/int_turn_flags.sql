{#- Every turn with what it counts for in the daily rates. A view: what is read of it is summed at once. -#}
{%- set slices = evalhouse.turn_slices() %}

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
)

select
    started_at,
    cast(started_at as date) as turn_date,
    coalesce(model_version, '(missing)') as model_version,
    unit_id,
    {%- for slice in slices %}
    coalesce(cast({{ slice.name }} as {{ dbt.type_string() }}), '(missing)') as {{ slice.name }},
    {%- endfor %}
    sample_weight,
    latency_ms,
    input_tokens,
    output_tokens,
    cost_usd,
    {%- for base in evalhouse.bases_of_rules(evalhouse.turn_rates()) %}
    {{ base.known }} as {{ base.name }}__known,
    {{ base.awaited }} as {{ base.name }}__awaited,
    {%- endfor %}
    {%- for rate in evalhouse.turn_rates() %}
    {{ evalhouse.known_condition(rate) }} as {{ rate.name }}__event{{ ',' if not loop.last }}
    {%- endfor %}
from watched
