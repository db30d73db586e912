{#-
    What two metrics share by chance: sums over the units of an arm of the product of both metrics' residuals, and of
    their covariates' residuals under CUPED. A unit counts for the pairs of which it has both values. Products are
    aggregated wide, in passes of a bounded number of columns, and turned long. Where units come in clusters, the
    clusters' sums are multiplied instead (int_effect_covariances).
-#}
{%- set pairs = evalhouse.metric_pairs() -%}
{%- set residuals = {} -%}
{%- for pair in pairs -%}
    {%- for metric in [pair.goal, pair.other] if metric.name not in residuals -%}
        {%- do residuals.update({metric.name: metric}) -%}
    {%- endfor -%}
{%- endfor -%}
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

moments as (
    select * from {{ ref('evalhouse', 'int_arm_moments_wide') }}
    where dimension_name = 'all'
),

unit_values as (
    select all_unit_values.*
    from all_unit_values
    inner join experiments on all_unit_values.experiment_id = experiments.experiment_id
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

{%- for batch in pairs | batch(200) %}
{%- set first_pair = loop.index0 * 200 %},

wide_{{ loop.index }} as (
    select
        {{ key }}
        {%- for pair in batch %}
        {%- set number = first_pair + loop.index %}
        {%- for goal_part, other_part in pair.products %},
        sum({{ pair.goal.name }}__{{ goal_part }} * {{ pair.other.name }}__{{ other_part }})
            as p{{ number }}_{{ goal_part }}{{ other_part }}
        {%- endfor %}
        {%- endfor %}
    from residuals
    group by {{ key }}
)
{%- endfor %}
{% for batch in pairs | batch(200) %}
{%- set first_pair = loop.index0 * 200 %}
{%- set relation = 'wide_' ~ loop.index %}
{%- for pair in batch %}
{%- set number = first_pair + loop.index %}
{{ 'union all' if number > 1 }}
select
    {{ key }},
    '{{ pair.goal.name }}' as goal_metric_name,
    '{{ pair.other.name }}' as other_metric_name
    {%- for product in products %},
    {{ 'p' ~ number ~ '_' ~ product if (product | list) in pair.products else missing }} as product_{{ product }}
    {%- endfor %}
from {{ relation }}
where p{{ number }}_zz is not null
{% endfor %}
{%- else %}
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
