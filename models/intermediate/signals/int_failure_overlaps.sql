{#- What ties a day's failures to those of each of the seven days before: units that are there on both. Everything that
    a sum over eight days needs comes from here by day, so that no unit's day is written once for every day that
    follows. Kept by day. -#}
{{ config(
    materialized='incremental',
    on_schema_change='append_new_columns',
    sql_header=evalhouse.one_writer('int_failure_overlaps'),
    **evalhouse.incremental_by(['turn_date'])
) }}
{%- set slice = 'model_version, dimension_name, dimension_value' -%}
{%- set slices = evalhouse.turn_slices() -%}
{%- set modes = evalhouse.failure_mode_rules() -%}
{%- set bases = modes | map(attribute='base') | unique | list -%}
{%- set names = bases + modes | map(attribute='name') | list -%}
{%- set sums = [] -%}
{%- for base in bases -%}
    {%- do sums.append(base ~ '__now_before') -%}
{%- endfor -%}
{%- for mode in modes -%}
    {%- do sums.extend([
        mode.name ~ '__now_before', mode.name ~ '__now_base_before', mode.name ~ '__before_base_now'
    ]) -%}
{%- endfor -%}
{%- set a_week_before = evalhouse.time_added('day', -7, 'unit_days.turn_date') -%}
{%- set string = dbt.type_string() -%}
{%- set double = evalhouse.type_double() %}

with all_unit_days as (
    select * from {{ ref('evalhouse', 'int_unit_turn_days') }}
    where unit_id <> ''
),

{{ evalhouse.replaced_turn_days('int_unit_turn_days') }},

unit_days as (
    select * from all_unit_days
    {%- if is_incremental() %}
    where turn_date >= (select replaced_from from reach)
    {%- endif %}
),

days_before as (
    select * from all_unit_days
    {%- if is_incremental() %}
    where turn_date >= (select cast({{ evalhouse.time_added('day', -7, 'replaced_from') }} as date) from reach)
    {%- endif %}
),

numbers as (
    select * from {{ ref('evalhouse', 'numbers') }}
),

pairs_of_rows as (
    select
        unit_days.turn_date,
        unit_days.model_version,
        unit_days.unit_id,
        {{ dbt.datediff('days_before.turn_date', 'unit_days.turn_date', 'day') }} as days_between,
        {%- for slice in slices %}
        case when unit_days.{{ slice.name }} = days_before.{{ slice.name }} then unit_days.{{ slice.name }} end
            as {{ slice.name }},
        {%- endfor %}
        {%- for name in names %}
        unit_days.{{ name }}__weight as {{ name }}__now,
        days_before.{{ name }}__weight as {{ name }}__before{{ ',' if not loop.last }}
        {%- endfor %}
    from unit_days
    inner join days_before
        on unit_days.unit_id = days_before.unit_id
        and unit_days.model_version = days_before.model_version
        and unit_days.turn_date > days_before.turn_date
        and days_before.turn_date >= cast({{ a_week_before }} as date)
),

-- A product of two sums is the sum of the products of their terms: rows of a slice need not be added up by unit first.
pairs as (
    {%- for name in ['all'] + slices | map(attribute='name') | list %}
    {{ 'union all' if not loop.first }}
    select
        *,
        '{{ name }}' as dimension_name,
        {{ name if name != 'all' else "'all'" }} as dimension_value
    from pairs_of_rows
    {%- if name != 'all' %}
    where {{ name }} is not null
    {%- endif %}
    {%- endfor %}
),

products as (
    select
        turn_date,
        {{ slice }},
        days_between,
        {%- for base in bases %}
        sum({{ base }}__now * {{ base }}__before) as {{ base }}__now_before,
        {%- endfor %}
        {%- for mode in modes %}
        sum({{ mode.name }}__now * {{ mode.name }}__before) as {{ mode.name }}__now_before,
        sum({{ mode.name }}__now * {{ mode.base }}__before) as {{ mode.name }}__now_base_before,
        sum({{ mode.name }}__before * {{ mode.base }}__now) as {{ mode.name }}__before_base_now
        {{- ',' if not loop.last }}
        {%- endfor %}
    from pairs
    group by turn_date, {{ slice }}, days_between
),

latest as (
    select
        turn_date,
        {{ slice }},
        unit_id,
        {%- for name in names %}
        min(case when {{ name }}__now > 0 and {{ name }}__before > 0 then days_between end) as {{ name }}__latest
        {{- ',' if not loop.last }}
        {%- endfor %}
    from pairs
    group by turn_date, {{ slice }}, unit_id
),

returning_units as (
    select
        latest.turn_date,
        {{ evalhouse.qualified('latest', slice) }},
        numbers.n as days_between,
        {%- for name in names %}
        count(case when latest.{{ name }}__latest = numbers.n then 1 end) as {{ name }}__units
        {{- ',' if not loop.last }}
        {%- endfor %}
    from latest
    cross join numbers
    where numbers.n between 1 and 7
    group by latest.turn_date, {{ evalhouse.qualified('latest', slice) }}, numbers.n
)

select
    products.turn_date,
    {{ evalhouse.qualified('products', slice) }},
    products.days_between,
    cast(null as {{ string }}) as definition_hash,
    cast(null as {{ string }}) as day_state,
    {%- for column in sums %}
    products.{{ column }},
    {%- endfor %}
    {%- for name in names %}
    returning_units.{{ name }}__units{{ ',' if not loop.last }}
    {%- endfor %}
from products
inner join returning_units
    on products.turn_date = returning_units.turn_date
    and {{ evalhouse.joined('products', 'returning_units', slice) }}
    and products.days_between = returning_units.days_between

union all

select
    turn_date,
    '' as model_version,
    '' as dimension_name,
    '' as dimension_value,
    cast(null as {{ dbt.type_int() }}) as days_between,
    definition_hash,
    day_state,
    {%- for column in sums %}
    cast(null as {{ double }}) as {{ column }},
    {%- endfor %}
    {%- for name in names %}
    cast(null as {{ dbt.type_bigint() }}) as {{ name }}__units{{ ',' if not loop.last }}
    {%- endfor %}
from marked_days
