{#- What the turns of a unit weigh in every daily rate, one pass over the turns: by day, model version and the values of
    all slices. Only what the error between units needs is kept by unit: everything else is summed by day from the
    turns themselves. -#}
{%- set slices = evalhouse.turn_slices() -%}
{%- set key = ['turn_date', 'model_version'] + slices | map(attribute='name') | list + ['unit_id'] %}

with flags as (
    select * from {{ ref('evalhouse', 'int_turn_flags') }}
)

select
    {{ key | join(',\n    ') }},
    {%- for base in evalhouse.bases_of_rules(evalhouse.turn_rates()) %}
    sum(case when {{ base.name }}__known then sample_weight else 0e0 end) as {{ base.name }}__weight,
    {%- endfor %}
    {%- for rate in evalhouse.turn_rates() %}
    sum(case when {{ rate.name }}__event then sample_weight else 0e0 end) as {{ rate.name }}__weight
    {{- ',' if not loop.last }}
    {%- endfor %}
from flags
group by {{ key | join(', ') }}
