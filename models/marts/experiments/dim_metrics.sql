{%- set metrics = evalhouse.metric_plan().metrics -%}
{%- set string = dbt.type_string() -%}
{%- set double = evalhouse.type_double() -%}

-- depends_on: {{ ref('evalhouse', 'run_gate') }}
with configured as (
    {%- if metrics %}
    {%- for metric in metrics %}
    select
        cast('{{ metric.name }}' as {{ string }}) as metric_name,
        cast('{{ metric.role }}' as {{ string }}) as metric_role,
        cast('{{ metric.type }}' as {{ string }}) as metric_type,
        cast('{{ metric.direction }}' as {{ string }}) as direction,
        cast('{{ metric.fact }}' as {{ string }}) as fact_name,
        cast('{{ metric.covers | last }}' as {{ string }}) as denominator_fact_name,
        cast({{ evalhouse.text_literal(metric.description) }} as {{ string }}) as description,
        cast({{ evalhouse.text_literal(evalhouse.metric_definition(metric)) }} as {{ string }}) as definition,
        {{ 'true' if metric.cuped else 'false' }} as is_cuped,
        cast({{ metric.delay_hours }} as {{ double }}) as delay_hours,
        {%- set window_hours = metric.span_seconds / 3600 if metric.span_seconds is not none else 'null' %}
        cast({{ window_hours }} as {{ double }}) as window_hours,
        cast({{ metric.quantile if metric.quantile is not none else 'null' }} as {{ double }}) as quantile,
        {%- set quantile_of = "'" ~ metric.quantile_of ~ "'" if metric.type == 'quantile' else 'null' %}
        cast({{ quantile_of }} as {{ string }}) as quantile_of
    {{ 'union all' if not loop.last }}
    {%- endfor %}
    {%- else %}
    select
        cast(null as {{ string }}) as metric_name,
        cast(null as {{ string }}) as metric_role,
        cast(null as {{ string }}) as metric_type,
        cast(null as {{ string }}) as direction,
        cast(null as {{ string }}) as fact_name,
        cast(null as {{ string }}) as denominator_fact_name,
        cast(null as {{ string }}) as description,
        cast(null as {{ string }}) as definition,
        false as is_cuped,
        cast(null as {{ double }}) as delay_hours,
        cast(null as {{ double }}) as window_hours,
        cast(null as {{ double }}) as quantile,
        cast(null as {{ string }}) as quantile_of
    from (select 1 as nothing) as no_row
    where 1 = 0
    {%- endif %}
)

select
    metric_name,
    metric_role,
    metric_type,
    direction,
    fact_name,
    denominator_fact_name,
    description,
    definition,
    cast({{ dbt.hash('definition') }} as {{ string }}) as definition_hash,
    is_cuped,
    delay_hours,
    window_hours,
    quantile,
    quantile_of
from configured
