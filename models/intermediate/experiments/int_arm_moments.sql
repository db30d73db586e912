{#- The wide moments as one row per metric, of the newest data and of every look before it. -#}
{%- set plan = evalhouse.metric_plan() -%}
{%- set names = [
    'centre', 'mean_y', 'mean_d', 'mean_x', 'mean_w', 'var_y', 'var_d', 'var_x', 'var_w',
    'cov_yd', 'cov_xw', 'cov_yx', 'cov_yw', 'cov_dx', 'cov_dw'
] -%}
{%- set rows = [] -%}
{%- for metric in plan.metrics if evalhouse.metric_parts(metric) -%}
    {%- if metric.moves_daily -%}
        {%- do rows.append(['restated', evalhouse.current_look(), metric]) -%}
        {%- do rows.append(['restated_looks', 'look_date', metric]) -%}
    {%- else -%}
        {%- do rows.append(['looks', 'look_date', metric]) -%}
    {%- endif -%}
{%- endfor -%}
{%- set missing = 'cast(null as ' ~ evalhouse.type_double() ~ ')' -%}

with restated as (
    select * from {{ ref('evalhouse', 'int_arm_moments_wide') }}
),

looks as (
    select * from {{ ref('evalhouse', 'int_arm_looks_wide') }}
),

restated_looks as (
    select * from {{ ref('evalhouse', 'int_arm_looks_restated_wide') }}
)

{% if rows -%}
{%- for relation, look_date, metric in rows -%}
{%- set available = evalhouse.metric_moments(metric) | map(attribute='name') | list -%}
{{ 'union all' if not loop.first }}
select
    {{ look_date }} as look_date,
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
from {{ relation }}
{% endfor -%}
{%- else -%}
select
    {{ evalhouse.current_look() }} as look_date,
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
from restated
where 1 = 0
{%- endif %}
