{#- The wide moments as one row per metric. -#}
{%- set plan = evalhouse.metric_plan() -%}
{%- set names = [
    'centre', 'mean_y', 'mean_d', 'mean_x', 'mean_w', 'var_y', 'var_d', 'var_x', 'var_w',
    'cov_yd', 'cov_xw', 'cov_yx', 'cov_yw', 'cov_dx', 'cov_dw'
] -%}
{%- set with_parts = [] -%}
{%- for metric in plan.metrics if evalhouse.metric_parts(metric) -%}
    {%- do with_parts.append(metric) -%}
{%- endfor -%}
{%- set missing = 'cast(null as ' ~ evalhouse.type_double() ~ ')' -%}

with wide as (
    select * from {{ ref('evalhouse', 'int_arm_moments_wide') }}
)

{% if with_parts -%}
{%- for metric in with_parts -%}
{%- set available = evalhouse.metric_moments(metric) | map(attribute='name') | list -%}
{{ 'union all' if not loop.first }}
select
    experiment_id,
    variation_id,
    phase_number,
    dimension_name,
    dimension_value,
    '{{ metric.name }}' as metric_name,
    {{ metric.name }}__units as units
    {%- for name in names %},
    {{ metric.name ~ '__' ~ name if name in available else missing }} as {{ name }}
    {%- endfor %}
from wide
{% endfor -%}
{%- else -%}
select
    experiment_id,
    variation_id,
    phase_number,
    dimension_name,
    dimension_value,
    cast(null as {{ dbt.type_string() }}) as metric_name,
    analysed_units as units
    {%- for name in names %},
    cast(null as {{ evalhouse.type_double() }}) as {{ name }}
    {%- endfor %}
from wide
where 1 = 0
{%- endif %}
