{#- Fitted by scripts/calibrate_rephrase.py; docs/rephrase.md says on what, and how good they are. -#}
{%- set weights = [
    ('intercept', -4.032),
    ('content_overlap', 3.18),
    ('content_containment', 2.073),
    ('content_disjoint', -1.794),
    ('frame_overlap', 3.429),
    ('previous_contained', 1.703),
    ('substitution', -8.734),
    ('question_changed', -2.512),
    ('number_changed', -4.068),
    ('embedding_cosine', 5.0),
    ('embedding_centre', 0.8),
    ('threshold', 0.442),
] -%}
-- depends_on: {{ ref('evalhouse', 'run_gate') }}
{%- for name, value in weights %}
select
    '{{ name }}' as name,
    cast({{ value }} as {{ evalhouse.type_double() }}) as value
    {{ 'union all' if not loop.last }}
{%- endfor %}
