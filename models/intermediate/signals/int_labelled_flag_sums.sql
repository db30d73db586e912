{#- Squares and products over units of what they have of each signal, by label and slice. Of a rule a, b and w are a
    unit's positive turns with the signal, its other ones and both, v the labels of these; of a base p, n, t and l are
    the same of all turns for which the signal is known. Labels count from the middle of their scale. -#}
{%- set rules = evalhouse.signal_rules() -%}
{%- set bases = evalhouse.bases_of_rules(rules) -%}
{%- set slice = 'label_source, label_name, label_middle, dimension_name, dimension_value' -%}
{%- set double = evalhouse.type_double() %}

with unit_flags as (
    select * from {{ ref('evalhouse', 'int_labelled_unit_flags') }}
),

counted as {{ evalhouse.materialized() }} (
    select
        {{ slice }},
        {%- for base in bases %}
        cast({{ base.name }}__positives as {{ double }}) as {{ base.name }}__p,
        cast({{ base.name }}__turns - {{ base.name }}__positives as {{ double }}) as {{ base.name }}__n,
        cast({{ base.name }}__turns as {{ double }}) as {{ base.name }}__t,
        {{ base.name }}__labels as {{ base.name }}__l,
        {%- endfor %}
        {%- for rule in rules %}
        cast({{ rule.name }}__positives as {{ double }}) as {{ rule.name }}__a,
        cast({{ rule.name }}__turns - {{ rule.name }}__positives as {{ double }}) as {{ rule.name }}__b,
        cast({{ rule.name }}__turns as {{ double }}) as {{ rule.name }}__w,
        {{ rule.name }}__labels as {{ rule.name }}__v{{ ',' if not loop.last }}
        {%- endfor %}
    from unit_flags
)

select
    {{ slice }},
    {%- for base in bases %}
    {%- for kind in ['p', 'n', 't'] %}
    count(case when {{ base.name }}__{{ kind }} > 0 then 1 end) as {{ base.name }}__units_{{ kind }},
    {%- endfor %}
    {%- for kind in ['p', 'n', 't', 'l'] %}
    sum({{ base.name }}__{{ kind }}) as {{ base.name }}__{{ kind }},
    {%- endfor %}
    {%- for one, other in ['pp', 'pn', 'nn', 'll', 'lt', 'tt'] %}
    sum({{ base.name }}__{{ one }} * {{ base.name }}__{{ other }}) as {{ base.name }}__{{ one }}{{ other }},
    {%- endfor %}
    {%- endfor %}
    {%- for rule in rules %}
    count(case when {{ rule.name }}__w > 0 then 1 end) as {{ rule.name }}__units_with,
    count(case when {{ rule.name }}__w < {{ rule.base }}__t then 1 end) as {{ rule.name }}__units_without,
    {%- for kind in ['a', 'b', 'w', 'v'] %}
    sum({{ rule.name }}__{{ kind }}) as {{ rule.name }}__{{ kind }},
    {%- endfor %}
    {%- for one, other in ['aa', 'ab', 'bb', 'vv', 'vw', 'ww'] %}
    sum({{ rule.name }}__{{ one }} * {{ rule.name }}__{{ other }}) as {{ rule.name }}__{{ one }}{{ other }},
    {%- endfor %}
    {%- for one, other in ['ap', 'an', 'bp', 'bn', 'vl', 'vt', 'wl', 'wt'] %}
    sum({{ rule.name }}__{{ one }} * {{ rule.base }}__{{ other }}) as {{ rule.name }}__{{ one }}{{ other }},
    {%- endfor %}
    {%- endfor %}
    count(*) as units
from counted
group by {{ slice }}
