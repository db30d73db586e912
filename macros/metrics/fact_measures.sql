{#- Select over one fact: unit, time and the wanted measures, only rows in which some measure counts. One scan of the
    fact gives every measure. Values outside +-1e35 do not count, smaller ones than 1e-35 are zero: their powers would
    leave the range of a double. -#}
{% macro fact_measures(fact, measures) -%}
    {%- set spec = evalhouse.fact_spec(fact) -%}
    select
        fact_unit_id,
        fact_time
        {%- for measure in measures %},
        {%- if measure.is_text %}
        {{ measure.name }}
        {%- else %}
        case
            when abs({{ measure.name }}) < 1e-35 then 0
            when {{ measure.name }} between -1e35 and 1e35 then {{ measure.name }}
        end as {{ measure.name }}
        {%- endif %}
        {%- endfor %}
    from (
        select
            {{ spec.unit }} as fact_unit_id,
            {{ spec.time }} as fact_time
            {%- for measure in measures %},
            {{ measure.sql }} as {{ measure.name }}
            {%- endfor %}
        from {{ spec.relation }}
        {%- if measures | selectattr('where', 'none') | list | length == 0 %}
        where
            {%- for where in measures | map(attribute='where') | unique %}
            {{ 'or ' if not loop.first }}{{ evalhouse.sql_snippet(where) }}
            {%- endfor %}
        {%- endif %}
    ) as {{ fact }}_rows
    {%- if evalhouse.settings().analysis.as_of %}
    where fact_time <= {{ evalhouse.as_of_literal() }}
    {%- endif %}
{%- endmacro %}

{#- Rows of all facts under one another, from the CTEs `<fact>_measures`: a measure of another fact is null. -#}
{% macro stacked_measures(measures) -%}
    {%- for fact in measures | map(attribute='fact') | unique -%}
    {%- if not loop.first %}

    union all

    {% endif -%}
    select
        fact_unit_id,
        fact_time
        {%- for measure in measures %},
        {%- set data_type = dbt.type_string() if measure.is_text else evalhouse.type_double() %}
        {{ 'cast(null as ' ~ data_type ~ ') as ' if measure.fact != fact }}{{ measure.name }}
        {%- endfor %}
    from {{ fact }}_measures
    {%- endfor %}
{%- endmacro %}
