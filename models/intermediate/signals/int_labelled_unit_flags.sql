{#- Labelled turns with and without each signal, by label, slice and unit: one pass over the labelled turns. -#}
{%- set slices = evalhouse.trace_dimensions() -%}
{%- set rules = evalhouse.signal_rules() -%}
{%- set bases = evalhouse.bases_of_rules(rules) %}

with turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

labels as (
    select * from {{ ref('evalhouse', 'int_turn_labels') }}
),

-- Stored on its own: the hash tables of a join and of all slices would not fit in memory together.
judged as {{ evalhouse.materialized() }} (
    select
        labels.label_source,
        labels.label_name,
        labels.label_middle,
        labels.label_value - labels.label_middle as label_value,
        labels.is_positive = 1 as is_positive,
        turns.unit_id,
        {%- for slice in slices %}
        coalesce(cast(turns.{{ slice.name }} as {{ dbt.type_string() }}), '(missing)') as {{ slice.name }},
        {%- endfor %}
        {%- for base in bases %}
        {{ base.known }} as {{ base.name }}__known,
        {%- endfor %}
        {%- for rule in rules %}
        {{ evalhouse.known_condition(rule) }} as {{ rule.name }}__event{{ ',' if not loop.last }}
        {%- endfor %}
    from turns
    inner join labels on turns.trace_id = labels.trace_id
)

select
    label_source,
    label_name,
    label_middle,
    {{ evalhouse.dimension_labels(slices) }},
    unit_id,
    {%- for base in bases %}
    count(case when {{ base.name }}__known then 1 end) as {{ base.name }}__turns,
    count(case when {{ base.name }}__known and is_positive then 1 end) as {{ base.name }}__positives,
    sum(case when {{ base.name }}__known then label_value else 0e0 end) as {{ base.name }}__labels,
    {%- endfor %}
    {%- for rule in rules %}
    count(case when {{ rule.name }}__event then 1 end) as {{ rule.name }}__turns,
    count(case when {{ rule.name }}__event and is_positive then 1 end) as {{ rule.name }}__positives,
    sum(case when {{ rule.name }}__event then label_value else 0e0 end) as {{ rule.name }}__labels
    {{- ',' if not loop.last }}
    {%- endfor %}
from judged
group by {{ evalhouse.dimension_grouping_sets(['label_source', 'label_name', 'label_middle', 'unit_id'], slices) }}
