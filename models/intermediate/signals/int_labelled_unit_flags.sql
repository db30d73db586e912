{#- Labelled turns with and without each signal, by label, slice and unit: one pass over the labelled turns. -#}
{%- set slices = evalhouse.trace_dimensions() -%}
{%- set rules = evalhouse.signal_rules() -%}
{%- set used = rules | map(attribute='base') | unique | list -%}
{%- set bases = evalhouse.turn_bases() | selectattr('name', 'in', used) | list -%}
{%- set bigint = dbt.type_bigint() %}

with turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

labels as (
    select * from {{ ref('evalhouse', 'int_turn_labels') }}
),

judged as {{ evalhouse.materialized() }} (
    select
        labels.label_source,
        labels.label_name,
        labels.label_value,
        labels.is_positive,
        turns.unit_id,
        {%- for slice in slices %}
        coalesce(cast(turns.{{ slice.name }} as {{ dbt.type_string() }}), '(missing)') as {{ slice.name }},
        {%- endfor %}
        {%- for base in bases %}
        case when {{ base.known }} then 1 else 0 end as {{ base.name }}__known,
        {%- endfor %}
        {%- for rule in rules %}
        case when {{ evalhouse.known_condition(rule) }} then 1 else 0 end as {{ rule.name }}__event
        {{- ',' if not loop.last }}
        {%- endfor %}
    from turns
    inner join labels on turns.trace_id = labels.trace_id
)

select
    label_source,
    label_name,
    {{ evalhouse.dimension_labels(slices) }},
    unit_id,
    {%- for base in bases %}
    cast(sum({{ base.name }}__known) as {{ bigint }}) as {{ base.name }}__turns,
    cast(sum({{ base.name }}__known * is_positive) as {{ bigint }}) as {{ base.name }}__positives,
    sum({{ base.name }}__known * label_value) as {{ base.name }}__labels,
    {%- endfor %}
    {%- for rule in rules %}
    cast(sum({{ rule.name }}__event) as {{ bigint }}) as {{ rule.name }}__turns,
    cast(sum({{ rule.name }}__event * is_positive) as {{ bigint }}) as {{ rule.name }}__positives,
    sum({{ rule.name }}__event * label_value) as {{ rule.name }}__labels{{ ',' if not loop.last }}
    {%- endfor %}
from judged
group by {{ evalhouse.dimension_grouping_sets(['label_source', 'label_name', 'unit_id'], slices) }}
