{#- What the turns of a unit weigh in every daily rate, one pass over the turns: by day, model version and the values of
    all slices. Only what the error between units needs is kept by unit: everything else is summed by day from the
    turns themselves. Kept by day. -#}
{{ config(
    materialized='incremental',
    on_schema_change='append_new_columns',
    sql_header=evalhouse.one_writer('int_unit_turn_days'),
    **evalhouse.incremental_by(['turn_date'])
) }}
{%- set slices = evalhouse.turn_slices() -%}
{%- set key = ['turn_date', 'model_version'] + slices | map(attribute='name') | list + ['unit_id'] -%}
{%- set bases = evalhouse.bases_of_rules(evalhouse.turn_rates()) -%}
{%- set names = (bases + evalhouse.turn_rates()) | map(attribute='name') | list -%}
{%- set string = dbt.type_string() %}

with all_flags as (
    select * from {{ ref('evalhouse', 'int_turn_flags') }}
),

{{ evalhouse.replaced_turn_days('int_turn_signals', 'started_on') }},

flags as (
    select * from all_flags
    {%- if is_incremental() %}
    where started_at >= (select cast(replaced_from as {{ dbt.type_timestamp() }}) from reach)
    {%- endif %}
)

select
    {{ key | join(',\n    ') }},
    cast(null as {{ string }}) as definition_hash,
    cast(null as {{ string }}) as day_state,
    {%- for base in bases %}
    sum(case when {{ base.name }}__known then sample_weight else 0e0 end) as {{ base.name }}__weight,
    {%- endfor %}
    {%- for rate in evalhouse.turn_rates() %}
    sum(case when {{ rate.name }}__event then sample_weight else 0e0 end) as {{ rate.name }}__weight
    {{- ',' if not loop.last }}
    {%- endfor %}
from flags
group by {{ key | join(', ') }}

union all

select
    turn_date,
    cast(null as {{ string }}) as model_version,
    {%- for slice in slices %}
    cast(null as {{ string }}) as {{ slice.name }},
    {%- endfor %}
    '' as unit_id,
    definition_hash,
    day_state,
    {%- for name in names %}
    cast(null as {{ evalhouse.type_double() }}) as {{ name }}__weight{{ ',' if not loop.last }}
    {%- endfor %}
from marked_days
