{#- How well a number tells turns with a positive label from the others: the mean placement of the turns, with the error
    of units whose turns are placed together (Obuchowski 1997). -#}
{%- set signal = 'label_source, label_name, signal_name' -%}
{%- set double = evalhouse.type_double() %}

with unit_numbers as (
    select * from {{ ref('evalhouse', 'int_labelled_unit_numbers') }}
),

totals as {{ evalhouse.materialized() }} (
    select
        {{ signal }},
        cast(count(*) as {{ double }}) as units,
        sum(positives) as positives,
        sum(negatives) as negatives,
        sum(labels) as labels,
        sum(positive_placements) / nullif(sum(positives), 0) as auc,
        count(case when positives > 0 then 1 end) as units_positive,
        count(case when negatives > 0 then 1 end) as units_negative
    from unit_numbers
    group by {{ signal }}
),

influences as (
    select
        {{ evalhouse.qualified('unit_numbers', signal) }},
        (unit_numbers.positive_placements - totals.auc * unit_numbers.positives) / nullif(totals.positives, 0)
        + (unit_numbers.negative_placements - totals.auc * unit_numbers.negatives) / nullif(totals.negatives, 0)
            as on_auc
    from unit_numbers
    inner join totals on {{ evalhouse.joined('unit_numbers', 'totals', signal) }}
),

errors as {{ evalhouse.materialized() }} (
    select
        {{ signal }},
        sum(on_auc * on_auc) as auc_squares
    from influences
    group by {{ signal }}
)

select
    {{ evalhouse.qualified('totals', signal) }},
    totals.units,
    totals.positives,
    totals.negatives,
    totals.units_positive,
    totals.units_negative,
    totals.auc,
    totals.labels / (totals.positives + totals.negatives) as label_mean,
    errors.auc_squares
from totals
inner join errors on {{ evalhouse.joined('totals', 'errors', signal) }}
