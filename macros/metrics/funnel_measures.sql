{#- Whether a row of its fact is a step of a funnel, one measure `<metric>__s<n>` per step, in the form that
    `fact_measures` takes. -#}
{% macro funnel_measures() -%}
    {%- set measures = [] -%}
    {%- for metric in evalhouse.metric_plan().metrics if metric.type == 'funnel' -%}
        {%- for step in metric.steps -%}
            {%- do measures.append({
                'name': metric.name ~ '__s' ~ loop.index, 'fact': metric.fact, 'where': step.where, 'is_text': false,
                'sql': 'case when ' ~ evalhouse.sql_snippet(step.where) ~ ' then 1 end'
            }) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(measures) }}
{%- endmacro %}
