{#- Grouping sets that give one row per key for everyone and one per key and value of each dimension. -#}
{% macro dimension_grouping_sets(key, dimensions) -%}
    grouping sets (
        ({{ key | join(', ') }})
        {%- for dimension in dimensions %},
        ({{ key | join(', ') }}, {{ dimension.name }})
        {%- endfor %}
    )
{%- endmacro %}

{#- Name and value of the dimension that a row of such grouping sets belongs to; dimension columns are never null before
    grouping, so a null says that the row is not of that dimension. -#}
{% macro dimension_labels(dimensions) -%}
    {%- if dimensions -%}
    case
        {%- for dimension in dimensions %}
        when {{ dimension.name }} is not null then '{{ dimension.name }}'
        {%- endfor %}
        else 'all'
    end as dimension_name,
    coalesce({{ dimensions | map(attribute='name') | join(', ') }}, 'all') as dimension_value
    {%- else -%}
    'all' as dimension_name,
    'all' as dimension_value
    {%- endif -%}
{%- endmacro %}
