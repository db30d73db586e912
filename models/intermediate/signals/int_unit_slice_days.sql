{#- The weights of int_unit_turn_days by slice. Most units have one row a day and model version, which is that of every
    slice; the others are added up. -#}
{%- set slices = evalhouse.turn_slices() -%}
{%- set key = 'turn_date, model_version, unit_id' -%}
{%- set rates = evalhouse.turn_rates() -%}
{%- set names = (evalhouse.bases_of_rules(rates) + rates) | map(attribute='name') | list %}

with unit_days as (
    select * from {{ ref('evalhouse', 'int_unit_turn_days') }}
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
)

select * from uniform
union all
select * from added
