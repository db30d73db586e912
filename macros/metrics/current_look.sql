{#- The look date of the newest data, complete day or not; all other looks are at the end of a day. -#}
{% macro current_look() -%}
    cast('9999-12-31' as date)
{%- endmacro %}

{#- Select of every look of the CTE `experiments`: those of the CTE `daily_looks` and the newest data. -#}
{% macro all_looks() -%}
    select
        experiment_id,
        as_of_date as look_date
    from daily_looks

    union all

    select
        experiment_id,
        {{ evalhouse.current_look() }} as look_date
    from experiments
{%- endmacro %}
