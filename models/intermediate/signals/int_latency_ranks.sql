{#- Every value of a slice in order, with the ranks that its turns take: every later step picks ranks. Kept by day. -#}
{{ config(
    materialized='incremental',
    on_schema_change='append_new_columns',
    sql_header=evalhouse.one_writer('int_latency_ranks'),
    **evalhouse.incremental_by(['turn_date'])
) }}
{%- set double = evalhouse.type_double() %}

with all_turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

slices as (
    select * from {{ ref('evalhouse', 'int_latency_slices') }}
),

{{ evalhouse.replaced_turn_days('int_turn_signals', 'started_on') }},

turns as (
    select * from all_turns
    {%- if is_incremental() %}
    where started_at >= (select cast(replaced_from as {{ dbt.type_timestamp() }}) from reach)
    {%- endif %}
),

latencies as (
    {{ evalhouse.latency_values() | indent(4) }}
),

-- Turns with the same value make no difference to what is picked.
distinct_values as (
    select
        turn_date,
        slice_number,
        metric_value,
        count(*) as turns,
        sum(ranks) as ranks
    from latencies
    group by turn_date, slice_number, metric_value
),

ranked as (
    select
        turn_date,
        slice_number,
        metric_value,
        turns,
        -- To a millionth of a rank: where a row ends must not hang on how an engine rounds a running sum.
        floor(1e6 * sum(ranks) over (
            partition by slice_number order by metric_value
            rows between unbounded preceding and current row
        ) + 5e-1) / 1e6 as values_through
    from distinct_values
)

select
    turn_date,
    cast(null as {{ dbt.type_string() }}) as definition_hash,
    cast(null as {{ dbt.type_string() }}) as day_state,
    slice_number,
    metric_value,
    turns,
    -- Taken from the row before, so that no rank falls between two rows by rounding.
    coalesce(
        lag(values_through) over (partition by slice_number order by metric_value), cast(0 as {{ double }})
    ) as values_before,
    values_through
from ranked

union all

select
    turn_date,
    definition_hash,
    day_state,
    cast(null as {{ dbt.type_bigint() }}) as slice_number,
    cast(null as {{ double }}) as metric_value,
    cast(null as {{ dbt.type_bigint() }}) as turns,
    cast(null as {{ double }}) as values_before,
    cast(null as {{ double }}) as values_through
from marked_days
