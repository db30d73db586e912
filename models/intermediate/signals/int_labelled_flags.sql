{#-
    How well each signal tells turns with a positive label from the others, by label and slice. Of a yes or no the area
    under the ROC curve is half of 1, plus its share of the positive turns, less its share of the others; its error and
    that of the lift are those of a difference of two ratios over units.
-#}
{%- set slice = 'label_source, label_name, dimension_name, dimension_value' -%}
{%- set double = evalhouse.type_double() -%}
{#- What a unit adds to a figure is a sum of four of its totals, by weights of the slice. -#}
{%- set weights = {
    'auc': {
        'a': 'per_positive / 2', 'b': '-per_negative / 2',
        'p': '-share_of_positives * per_positive / 2', 'n': 'share_of_negatives * per_negative / 2'
    },
    'lift': {
        'v': 'per_turn_with + per_turn_without',
        'w': '-mean_with * per_turn_with - mean_without * per_turn_without',
        'l': '-per_turn_without', 't': 'mean_without * per_turn_without'
    }
} %}

with sums as (
    select * from {{ ref('evalhouse', 'int_labelled_flag_sums') }}
),

by_rule as (
    {%- for rule in evalhouse.signal_rules() %}
    {{ 'union all' if not loop.first }}
    select
        {{ slice }},
        label_middle,
        '{{ rule.name }}' as signal_name,
        {%- for kind in ['p', 'n', 't'] %}
        {{ rule.base }}__units_{{ kind }} as units_{{ kind }},
        {%- endfor %}
        {{ rule.name }}__units_with as units_with,
        {{ rule.name }}__units_without as units_without,
        {%- for kind in ['p', 'n', 't', 'l', 'pp', 'pn', 'nn', 'll', 'lt', 'tt'] %}
        {{ rule.base }}__{{ kind }} as {{ kind }},
        {%- endfor %}
        {%- for kind in [
            'a', 'b', 'w', 'v', 'aa', 'ab', 'bb', 'vv', 'vw', 'ww', 'ap', 'an', 'bp', 'bn', 'vl', 'vt', 'wl', 'wt'
        ] %}
        {{ rule.name }}__{{ kind }} as {{ kind }}{{ ',' if not loop.last }}
        {%- endfor %}
    from sums
    where {{ rule.base }}__units_t > 0
    {%- endfor %}
),

counted as (
    select
        *,
        1 / nullif(p, 0) as per_positive,
        1 / nullif(n, 0) as per_negative,
        1 / nullif(w, 0) as per_turn_with,
        1 / nullif(t - w, 0) as per_turn_without
    from by_rule
),

described as {{ evalhouse.materialized() }} (
    select
        *,
        a / nullif(p, 0) as share_of_positives,
        b / nullif(n, 0) as share_of_negatives,
        v / nullif(w, 0) as mean_with,
        (l - v) / nullif(t - w, 0) as mean_without
    from counted
),

weighed as {{ evalhouse.materialized() }} (
    select
        *
        {%- for figure, kinds in weights.items() %}
        {%- for kind, weight in kinds.items() %},
        {{ weight }} as {{ kind }}_on_{{ figure }}
        {%- endfor %}
        {%- endfor %}
    from described
),

-- Ten products of two totals each; those of two different ones come twice.
terms as {{ evalhouse.materialized() }} (
    select
        *
        {%- for figure, kinds in weights.items() %}
        {%- set names = kinds.keys() | list %}
        {%- for one in names %}
        {%- for other in names[loop.index0:] %},
        {{ '2 * ' if not loop.first }}{{ one }}_on_{{ figure }} * {{ other }}_on_{{ figure }} * {{ one }}{{ other }}
            as {{ figure }}_{{ one }}{{ other }}
        {%- endfor %}
        {%- endfor %}
        {%- endfor %}
    from weighed
),

added as {{ evalhouse.materialized() }} (
    select
        *
        {%- for figure, kinds in weights.items() %}
        {%- set names = kinds.keys() | list %}
        {%- set terms = [] %}
        {%- for one in names %}
        {%- for other in names[loop.index0:] %}
        {%- do terms.append(figure ~ '_' ~ one ~ other) %}
        {%- endfor %}
        {%- endfor %},
        {{ terms | join(' + ') }} as {{ figure }}_squares,
        abs({{ terms | join(') + abs(') }}) as {{ figure }}_terms
        {%- endfor %}
    from terms
)

select
    {{ slice }},
    signal_name,
    cast(units_t as {{ double }}) as units,
    p as positives,
    n as negatives,
    w as turns_with,
    units_p as units_positive,
    units_n as units_negative,
    units_with,
    units_without,
    (1 + share_of_positives - share_of_negatives) / 2 as auc,
    label_middle + l / t as label_mean,
    label_middle + mean_with as mean_with,
    label_middle + mean_without as mean_without,
    mean_with - mean_without as lift
    {%- for figure in weights %},
    -- What rounding leaves of nothing is nothing.
    case when {{ figure }}_squares > 1e-13 * {{ figure }}_terms then {{ figure }}_squares else 0e0 end
        as {{ figure }}_squares
    {%- endfor %}
from added
