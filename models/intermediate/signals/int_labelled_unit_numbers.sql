{#-
    What each unit adds to the rank comparison of a signal with a label. The placement of a turn is the share of turns
    with the other label that its signal sets it apart from: for a positive turn those with less of the signal, for
    another one those with more, ties counting half. The mean placement is the area under the ROC curve.
-#}
{%- set double = evalhouse.type_double() -%}
{%- set numbers = {
    'next_similarity': 'is_mature', 'latency_ms': '1 = 1', 'output_chars': '1 = 1'
} %}

with turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

labels as (
    select * from {{ ref('evalhouse', 'int_turn_labels') }}
),

labelled_turns as (
    select
        labels.label_source,
        labels.label_name,
        labels.label_value,
        cast(labels.is_positive as {{ double }}) as is_positive,
        turns.unit_id,
        turns.is_mature,
        {{ evalhouse.qualified('turns', numbers.keys() | join(', ')) }}
    from turns
    inner join labels on turns.trace_id = labels.trace_id
),

measured as (
    {%- for name, known in numbers.items() %}
    {{ 'union all' if not loop.first }}
    select
        label_source,
        label_name,
        '{{ name }}' as signal_name,
        unit_id,
        label_value,
        is_positive,
        {{ name }} as signal_value
    from labelled_turns
    where {{ name }} is not null and {{ known }}
    {%- endfor %}
),

value_counts as (
    select
        label_source,
        label_name,
        signal_name,
        signal_value,
        sum(is_positive) as positives,
        sum(1 - is_positive) as negatives
    from measured
    group by label_source, label_name, signal_name, signal_value
),

counts_in_order as (
    select
        *,
        sum(positives) over (
            partition by label_source, label_name, signal_name order by signal_value
            rows between unbounded preceding and current row
        ) as positives_through,
        sum(negatives) over (
            partition by label_source, label_name, signal_name order by signal_value
            rows between unbounded preceding and current row
        ) as negatives_through,
        sum(positives) over (partition by label_source, label_name, signal_name) as all_positives,
        sum(negatives) over (partition by label_source, label_name, signal_name) as all_negatives
    from value_counts
),

placements as (
    select
        label_source,
        label_name,
        signal_name,
        signal_value,
        (negatives_through - negatives / 2) / nullif(all_negatives, 0) as positive_placement,
        (all_positives - positives_through + positives / 2) / nullif(all_positives, 0) as negative_placement
    from counts_in_order
)

select
    measured.label_source,
    measured.label_name,
    measured.signal_name,
    measured.unit_id,
    sum(measured.is_positive) as positives,
    sum(1 - measured.is_positive) as negatives,
    sum(measured.is_positive * placements.positive_placement) as positive_placements,
    sum((1 - measured.is_positive) * placements.negative_placement) as negative_placements,
    sum(measured.label_value) as labels
from measured
inner join placements
    on measured.label_source = placements.label_source
    and measured.label_name = placements.label_name
    and measured.signal_name = placements.signal_name
    and measured.signal_value = placements.signal_value
group by measured.label_source, measured.label_name, measured.signal_name, measured.unit_id
