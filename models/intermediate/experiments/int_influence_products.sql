{#-
    What two metrics share by chance: sums over the units of an arm of the product of both metrics' residuals, and of
    their covariates' residuals under CUPED. A unit counts for the pairs of which it has both values. Products are
    aggregated wide, one pass for every 200 pairs, and turned long. Where units come in clusters, the clusters'
    influences are multiplied instead (int_effect_covariances).
-#}
{%- set pairs = evalhouse.metric_pairs() -%}
{%- set residuals = {} -%}
{%- for pair in pairs -%}
    {%- for metric in [pair.goal, pair.other] if metric.name not in residuals -%}
        {%- do residuals.update({metric.name: metric}) -%}
    {%- endfor -%}
{%- endfor -%}
{%- set batches = pairs | batch(200) | list -%}
{%- set key = 'experiment_id, variation_id, phase_number' -%}
{%- set products = ['zz', 'zc', 'cz', 'cc'] -%}
{%- set missing = 'cast(null as ' ~ evalhouse.type_double() ~ ')' -%}

with experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
    where not is_clustered
),

all_unit_values as (
    select * from {{ ref('evalhouse', 'int_unit_values') }}
),

numbers as (
    select * from {{ ref('evalhouse', 'numbers') }}
    where n between 1 and 200
),

unit_values as (
    select all_unit_values.*
    from all_unit_values
    inner join experiments on all_unit_values.experiment_id = experiments.experiment_id
),

moments as (
    select
        {{ key }}
        {%- for metric in residuals.values() %}
        {%- for part in evalhouse.metric_parts(metric) %},
        avg({{ metric.name }}__{{ part }}) as {{ metric.name }}__mean_{{ part }}
        {%- endfor %}
        {%- endfor %}
    from unit_values
    group by {{ key }}
),

residuals as (
    select
        {{ evalhouse.qualified('unit_values', key) }}
        {%- for metric in residuals.values() %}
        {%- for part in (['z', 'c'] if metric.cuped else ['z']) %},
        {{ evalhouse.unit_residual(metric, part) }} as {{ metric.name }}__{{ part }}
        {%- endfor %}
        {%- endfor %}
    from unit_values
    inner join moments
        on {{ evalhouse.joined('unit_values', 'moments', key) }}
)

{%- for batch in batches %}
{%- set wide = 'wide_' ~ loop.index %},

{{ wide }} as (
    select
        {{ key }}
        {%- for pair in batch %}
        {%- set number = loop.index %}
        {%- for goal_part, other_part in pair.products %},
        sum({{ pair.goal.name }}__{{ goal_part }} * {{ pair.other.name }}__{{ other_part }})
            as {{ goal_part }}{{ other_part }}_{{ number }}
        {%- endfor %}
        {%- endfor %}
    from residuals
    group by {{ key }}
),

-- One row per pair without a select per pair, each of which an engine might feed by a pass of its own.
long_{{ loop.index }} as (
    select
        {{ evalhouse.qualified(wide, key) }},
        case numbers.n
            {%- for pair in batch %}
            when {{ loop.index }} then '{{ pair.goal.name }}'
            {%- endfor %}
        end as goal_metric_name,
        case numbers.n
            {%- for pair in batch %}
            when {{ loop.index }} then '{{ pair.other.name }}'
            {%- endfor %}
        end as other_metric_name
        {%- for product in products %},
        {%- set with_product = [] %}
        {%- for pair in batch %}
        {%- do with_product.append(loop.index) if (product | list) in pair.products %}
        {%- endfor %}
        {% if with_product -%}
        case numbers.n
            {%- for number in with_product %}
            when {{ number }} then {{ wide }}.{{ product }}_{{ number }}
            {%- endfor %}
        end
        {%- else -%}
        {{ missing }}
        {%- endif %} as product_{{ product }}
        {%- endfor %}
    from {{ wide }}
    inner join numbers on numbers.n <= {{ batch | length }}
)
{%- endfor %}
{% for batch in batches %}
{{ 'union all' if not loop.first }}
select
    {{ key }},
    goal_metric_name,
    other_metric_name
    {%- for product in products %},
    product_{{ product }}
    {%- endfor %}
from long_{{ loop.index }}
where product_zz is not null
{% else %}
select
    {{ key }},
    cast(null as {{ dbt.type_string() }}) as goal_metric_name,
    cast(null as {{ dbt.type_string() }}) as other_metric_name
    {%- for product in products %},
    {{ missing }} as product_{{ product }}
    {%- endfor %}
from residuals
where 1 = 0
{%- endfor %}
