{#- CTEs that end in `unit_totals`: every total of the metric plan for each row of `units`, out of their rows of
    `unit_days` and `baselines`. -#}
{% macro unit_totals_of_days() -%}
{%- set plan = evalhouse.metric_plan() -%}
{%- set totals_after = plan.totals | selectattr('period', 'equalto', 'after') | list -%}
{%- set totals_before = plan.totals | selectattr('period', 'equalto', 'before') | list -%}
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
        {%- for total in totals_before %},
        baselines.{{ total.name }}
        {%- endfor %}
    from units
    left join sums
        on units.experiment_id = sums.experiment_id
        and units.unit_id = sums.unit_id
    left join baselines
        on units.experiment_id = baselines.experiment_id
        and units.unit_id = baselines.unit_id
        and cast(units.first_exposed_at as date) = baselines.entry_date
    where {{ evalhouse.has_entered() }}
)
{%- endmacro %}

{#- Whether a unit's entry is among those that are kept (int_unit_baselines): one that came from beyond the lookback is
    not. After a left join, and so that it stays one: of an inner join of three columns Postgres expects a single row,
    and loops over the next table. -#}
{% macro has_entered() -%}
    coalesce(baselines.unit_id, '') <> ''
{%- endmacro %}
