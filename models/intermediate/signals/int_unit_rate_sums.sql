{#- Sums over units for every daily rate: weights, and the squares and products that its variance needs. Most units have
    one row a day and model version, which is that of every slice; the others are added up first. Kept by day. -#}
{{ config(
    materialized='incremental',
    on_schema_change='append_new_columns',
    sql_header=evalhouse.one_writer('int_unit_rate_sums'),
    **evalhouse.incremental_by(['turn_date'])
) }}
{%- set slices = evalhouse.turn_slices() -%}
{%- set key = 'turn_date, model_version, unit_id' -%}
{%- set rates = evalhouse.turn_rates() -%}
{%- set bases = evalhouse.bases_of_rules(rates) -%}
{%- set names = (bases + rates) | map(attribute='name') | list -%}
{%- set slice_key = 'turn_date, model_version, dimension_name, dimension_value' -%}
{%- set sums = evalhouse.unit_sum_columns() %}

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

slices as (
    {%- for name in ['all'] + slices | map(attribute='name') | list %}
    {{ 'union all' if not loop.first }}
    select '{{ name }}' as dimension_name
    {%- endfor %}
),

mixed_days as (
    select {{ key }}
    from unit_days
    group by {{ key }}
    having count(*) > 1
),

uniform as (
    select
        {{ evalhouse.qualified('unit_days', key) }},
        slices.dimension_name,
        case slices.dimension_name
            when 'all' then 'all'
            {%- for slice in slices %}
            when '{{ slice.name }}' then unit_days.{{ slice.name }}
            {%- endfor %}
        end as dimension_value,
        {%- for name in names %}
        unit_days.{{ name }}__weight{{ ',' if not loop.last }}
        {%- endfor %}
    from unit_days
    left join mixed_days on {{ evalhouse.joined('unit_days', 'mixed_days', key) }}
    cross join slices
    where mixed_days.unit_id is null
),

mixed as (
    select unit_days.*
    from unit_days
    inner join mixed_days on {{ evalhouse.joined('unit_days', 'mixed_days', key) }}
),

added as (
    select
        {{ key }},
        {{ evalhouse.dimension_labels(slices) }},
        {%- for name in names %}
        sum({{ name }}__weight) as {{ name }}__weight{{ ',' if not loop.last }}
        {%- endfor %}
    from mixed
    group by {{ evalhouse.dimension_grouping_sets([key], slices) }}
),

unit_slice_days as (
    select * from uniform
    union all
    select * from added
)

-- Every turn weighs something: a unit whose turns with the thing weigh less than all of its turns has one without it.
select
    {{ slice_key }},
    cast(null as {{ dbt.type_string() }}) as definition_hash,
    cast(null as {{ dbt.type_string() }}) as day_state,
    {%- for base in bases %}
    count(case when {{ base.name }}__weight > 0 then 1 end) as {{ base.name }}__units,
    sum({{ base.name }}__weight) as {{ base.name }}__weight,
    sum({{ base.name }}__weight * {{ base.name }}__weight) as {{ base.name }}__squares,
    {%- endfor %}
    {%- for rate in rates %}
    count(case when {{ rate.name }}__weight > 0 then 1 end) as {{ rate.name }}__units_with,
    count(case when {{ rate.name }}__weight < {{ rate.base }}__weight then 1 end) as {{ rate.name }}__units_without,
    sum({{ rate.name }}__weight) as {{ rate.name }}__weight,
    sum({{ rate.name }}__weight * {{ rate.name }}__weight) as {{ rate.name }}__squares,
    sum({{ rate.name }}__weight * {{ rate.base }}__weight) as {{ rate.name }}__products{{ ',' if not loop.last }}
    {%- endfor %}
from unit_slice_days
group by {{ slice_key }}

union all

select
    turn_date,
    '' as model_version,
    '' as dimension_name,
    '' as dimension_value,
    definition_hash,
    day_state,
    {%- for column in sums %}
    null as {{ column }}{{ ',' if not loop.last }}
    {%- endfor %}
from marked_days
