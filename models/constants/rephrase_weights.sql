{#- Fitted by scripts/calibrate_rephrase.py; docs/rephrase.md says on what, and how good they are. -#}
{%- set weights = [
    ('intercept', -4.027),
    ('content_overlap', 3.157),
    ('content_containment', 2.073),
    ('content_disjoint', -1.8),
    ('frame_overlap', 3.449),
    ('previous_contained', 1.706),
    ('substitution', -8.767),
    ('question_changed', -2.507),
    ('number_changed', -4.073),
    ('embedding_cosine', 5.0),
    ('embedding_centre', 0.8),
    ('threshold', 0.44),
] -%}
{%- for name, value in weights %}
select
    '{{ name }}' as name,
    cast({{ value }} as {{ evalhouse.type_double() }}) as value
    {{ 'union all' if not loop.last }}
{%- endfor %}
