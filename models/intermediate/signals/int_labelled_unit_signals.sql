{#-
    What each unit adds to the rank comparison of a signal with a label. The placement of a turn is the share of turns
    with the other label that its signal sets it apart from: for a positive turn those with less of the signal, for
    another one those with more, ties counting half. The mean placement is the area under the ROC curve.
-#}
{%- set double = evalhouse.type_double() -%}
{%- set slice = 'label_source, label_name, dimension_name, dimension_value' -%}
{%- set numbers = {
    'next_similarity': 'is_mature', 'latency_ms': '1 = 1', 'output_chars': '1 = 1'
} %}

with unit_flags as (
    select * from {{ ref('evalhouse', 'int_labelled_unit_flags') }}
),

turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

labels as (
    select * from {{ ref('evalhouse', 'int_turn_labels') }}
),

flags as (
    {%- for rule in evalhouse.signal_rules() %}
    {{ 'union all' if not loop.first }}
    select
        {{ slice }},
        '{{ rule.name }}' as signal_name,
        unit_id,
        cast({{ rule.base }}__positives as {{ double }}) as positives,
        cast({{ rule.base }}__turns - {{ rule.base }}__positives as {{ double }}) as negatives,
        cast({{ rule.name }}__positives as {{ double }}) as positives_with,
        cast({{ rule.name }}__turns - {{ rule.name }}__positives as {{ double }}) as negatives_with,
        {{ rule.base }}__labels as labels,
        {{ rule.name }}__labels as labels_with
    from unit_flags
    where {{ rule.base }}__turns > 0
    {%- endfor %}
),

flag_shares as (
    select
        {{ slice }},
        signal_name,
        sum(positives_with) / nullif(sum(positives), 0) as share_of_positives,
        sum(negatives_with) / nullif(sum(negatives), 0) as share_of_negatives
    from flags
    group by {{ slice }}, signal_name
),

placed_flags as (
    select
        {{ evalhouse.qualified('flags', slice) }},
        flags.signal_name,
        'flag' as signal_kind,
        flags.unit_id,
        flags.positives,
        flags.negatives,
        flags.positives_with * (1 - shares.share_of_negatives / 2)
        + (flags.positives - flags.positives_with) * (1 - shares.share_of_negatives) / 2 as positive_placements,
        flags.negatives_with * shares.share_of_positives / 2
        + (flags.negatives - flags.negatives_with) * (1 + shares.share_of_positives) / 2 as negative_placements,
        flags.positives_with + flags.negatives_with as turns_with,
        flags.labels,
        flags.labels_with
    from flags
    inner join flag_shares as shares
        on {{ evalhouse.joined('flags', 'shares', slice ~ ', signal_name') }}
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
),

placed_numbers as (
    select
        measured.label_source,
        measured.label_name,
        'all' as dimension_name,
        'all' as dimension_value,
        measured.signal_name,
        'number' as signal_kind,
        measured.unit_id,
        sum(measured.is_positive) as positives,
        sum(1 - measured.is_positive) as negatives,
        sum(measured.is_positive * placements.positive_placement) as positive_placements,
        sum((1 - measured.is_positive) * placements.negative_placement) as negative_placements,
        cast(null as {{ double }}) as turns_with,
        sum(measured.label_value) as labels,
        cast(null as {{ double }}) as labels_with
    from measured
    inner join placements
        on measured.label_source = placements.label_source
        and measured.label_name = placements.label_name
        and measured.signal_name = placements.signal_name
        and measured.signal_value = placements.signal_value
    group by measured.label_source, measured.label_name, measured.signal_name, measured.unit_id
)

select * from placed_flags
union all
select * from placed_numbers
