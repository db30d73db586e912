{#- One row per analysed unit, one column per metric part: what its days come to. -#}
{%- set plan = evalhouse.metric_plan() -%}
{%- set totals_after = plan.totals | selectattr('period', 'equalto', 'after') | list -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set attributes = ['variation_id', 'cluster_id', 'phase_number', 'first_exposed_at', 'horizon_at']
    + dimensions | map(attribute='name') | list -%}
{%- set funnels = plan.metrics | selectattr('type', 'equalto', 'funnel') | list -%}

with units as (
    select * from {{ ref('evalhouse', 'int_entered_units') }}
    where second_variation_at is null
),

{%- if funnels %}

funnels as (
    select * from {{ ref('evalhouse', 'int_unit_funnels') }}
),
{%- endif %}

watermarks as (
    {{ evalhouse.fact_watermarks(plan.facts) | indent(4) }}
),

unit_days as (
    select * from {{ ref('evalhouse', 'int_unit_days') }}
),

sums as (
    select
        experiment_id,
        unit_id
        {%- for total in totals_after %},
        {{ 'max' if total.aggregate == 'max' else 'sum' }}({{ total.name }}) as {{ total.name }}
        {%- endfor %}
    from unit_days
    group by experiment_id, unit_id
),

unit_totals as (
    select
        units.*
        {%- for total in totals_after %},
        {{ 'coalesce(sums.' ~ total.name ~ ', 0) as ' if total.aggregate == 'days' else 'sums.' }}{{ total.name }}
        {%- endfor %}
    from units
    left join sums
        on units.experiment_id = sums.experiment_id
        and units.unit_id = sums.unit_id
),

final as (
    select
        unit_totals.experiment_id,
        unit_totals.unit_id
        {%- for attribute in attributes %},
        unit_totals.{{ attribute }}
        {%- endfor %}
        {%- for metric in plan.metrics if evalhouse.metric_parts(metric) %},
        {{ evalhouse.unit_parts(metric, evalhouse.is_mature(metric, 'unit_totals'), 'unit_totals.horizon_at') }}
        {%- endfor %}
    from unit_totals
    cross join watermarks
    {%- if funnels %}
    left join funnels
        on unit_totals.experiment_id = funnels.experiment_id
        and unit_totals.unit_id = funnels.unit_id
    {%- endif %}
)

select * from final
