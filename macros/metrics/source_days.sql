{#- Select of the rows that each source has of each day now: units by their first exposure, events by their time. -#}
{% macro source_days() -%}
    {%- set inputs = ['outcomes', 'traces'] | select('in', evalhouse.settings().inputs) | list -%}
    {%- set own_facts = evalhouse.metric_plan().facts | reject('in', ['outcomes', 'turns', 'sessions']) | list -%}
    select
        'exposures' as source_name,
        cast(first_exposed_at as date) as activity_date,
        count(*) as rows_read
    from {{ ref('evalhouse', 'int_exposed_units') }}
    group by cast(first_exposed_at as date)
    {%- for fact in inputs + own_facts %}
    {%- set spec = evalhouse.fact_spec(fact) %}

    union all

    select
        '{{ fact }}' as source_name,
        cast({{ spec.time }} as date) as activity_date,
        count(*) as rows_read
    from {{ spec.relation }}
    where
        {{ spec.time }} is not null
        {%- if evalhouse.settings().analysis.as_of %}
        and {{ spec.time }} <= {{ evalhouse.as_of_literal() }}
        {%- endif %}
    group by cast({{ spec.time }} as date)
    {%- endfor %}
{%- endmacro %}
