{#- Select of the units that count (<metric>__n) and the mean of every part, by a key and each dimension. -#}
{% macro cluster_means(relation, key, metrics, dimensions) -%}
select
    {{ key | join(', ') }},
    {%- for dimension in dimensions %}
    {{ dimension.name }},
    {%- endfor %}
    count(*) as analysed_units
    {%- for metric in metrics %}
    {%- for part in evalhouse.metric_parts(metric) %},
    {%- if part == 'y' %}
    count({{ metric.name }}__y) as {{ metric.name }}__n,
    {%- endif %}
    avg({{ metric.name }}__{{ part }}) as {{ metric.name }}__{{ part }}
    {%- endfor %}
    {%- endfor %}
from {{ relation }}
group by {{ evalhouse.dimension_grouping_sets(key, dimensions) }}
{%- endmacro %}
