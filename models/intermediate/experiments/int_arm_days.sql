{#- By how much the sums of every arm, phase and slice change on each day, one row per metric. Their running totals are
    the sums at every look, squares and products included. Kept and replaced by day, as int_unit_days is; values go on
    being measured from the centre that an arm began with, which is stored beside the sums. -#}
{{ config(
    materialized='incremental',
    on_schema_change='sync_all_columns',
    sql_header=evalhouse.one_writer('int_arm_days'),
    **evalhouse.incremental_by(['experiment_id', 'change_date'])
) }}
{%- set plan = evalhouse.metric_plan() -%}
{%- set settings = evalhouse.settings() -%}
{%- set metrics = evalhouse.stepwise_metrics() -%}
{%- set sources = (['exposures', '(as of)'] + plan.facts) | unique | list -%}
{%- set double = evalhouse.type_double() -%}
{%- set arm = ['experiment_id', 'variation_id', 'phase_number'] -%}
{%- set constants = evalhouse.stepwise_constants() -%}
{%- set constant_columns = ['centre_y', 'centre_d', 'centre_x', 'centre_w', 'mean_x', 'mean_w'] -%}
{%- set definition = [metrics, evalhouse.unit_definition()] -%}

with {{ evalhouse.rebuilt_experiments(definition, sources, 'change_date', 'variation_id') }}

marked_days as (
    {{ evalhouse.marked_days('change_date') | indent(4) }}
),

new_bounds as (
    select * from {{ ref('evalhouse', 'int_arm_centres') }}
),

{%- if is_incremental() %}

stored_bounds as (
    select
        stored_days.experiment_id,
        stored_days.variation_id
        {{- evalhouse.stored_constants('stored_days') | indent(4) }}
    from {{ this }} as stored_days
    inner join experiments
        on stored_days.experiment_id = experiments.experiment_id
        and stored_days.change_date < experiments.rebuilt_from
    where stored_days.variation_id <> ''
    group by stored_days.experiment_id, stored_days.variation_id
),

bounds as (
    select
        new_bounds.experiment_id,
        new_bounds.variation_id
        {%- for name, part, kind in constants %},
        {%- set column = name ~ '__' ~ part ~ '_' ~ kind %}
        coalesce(stored_bounds.{{ column }}, new_bounds.{{ column }}) as {{ column }}
        {%- endfor %}
    from new_bounds
    left join stored_bounds
        on new_bounds.experiment_id = stored_bounds.experiment_id
        and new_bounds.variation_id = stored_bounds.variation_id
),
{%- else %}

bounds as (
    select * from new_bounds
),
{%- endif %}

{{ evalhouse.unit_changes(metrics) }},

{{ evalhouse.unit_change_sums(metrics, arm) }},

kept_constants as (
    {%- for metric in metrics %}
    {{ 'union all' if not loop.first }}
    select
        experiment_id,
        variation_id,
        '{{ metric.name }}' as metric_name
        {%- for column in constant_columns %}
        {%- set kind, part = column.split('_') %},
        {{ metric.name ~ '__' ~ part ~ '_' ~ kind if [metric.name, part, kind] in constants
            else 'cast(null as ' ~ double ~ ')' }} as {{ column }}
        {%- endfor %}
    from bounds
    {%- endfor %}
    {%- if not metrics %}
    select
        experiment_id,
        variation_id,
        cast(null as {{ dbt.type_string() }}) as metric_name
        {%- for column in constant_columns %},
        cast(null as {{ double }}) as {{ column }}
        {%- endfor %}
    from bounds
    where 1 = 0
    {%- endif %}
)

select
    change_sums.experiment_id,
    change_sums.variation_id,
    change_sums.phase_number,
    change_sums.dimension_name,
    change_sums.dimension_value,
    change_sums.change_date,
    change_sums.metric_name,
    cast(null as {{ dbt.type_string() }}) as definition_hash,
    cast(null as {{ dbt.type_string() }}) as day_state
    {%- for column in constant_columns %},
    kept_constants.{{ column }}
    {%- endfor %}
    {%- for name in evalhouse.step_sum_names() %},
    change_sums.{{ name }}
    {%- endfor %}
from change_sums
left join kept_constants
    on change_sums.experiment_id = kept_constants.experiment_id
    and change_sums.variation_id = kept_constants.variation_id
    and change_sums.metric_name = kept_constants.metric_name

union all

select
    experiment_id,
    '' as variation_id,
    cast(null as {{ dbt.type_bigint() }}) as phase_number,
    '' as dimension_name,
    '' as dimension_value,
    change_date,
    '' as metric_name,
    definition_hash,
    day_state
    {%- for column in constant_columns + evalhouse.step_sum_names() %},
    cast(null as {{ double }}) as {{ column }}
    {%- endfor %}
from marked_days
