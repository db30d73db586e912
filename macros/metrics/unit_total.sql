{#- Aggregate of one measure over the events of a unit in the total's period; null when no row counted. -#}
{% macro unit_total(total, units, events) -%}
    {%- set in_period = evalhouse.period_condition(
        total, events ~ '.fact_time', units ~ '.first_exposed_at', units ~ '.horizon_at'
    ) -%}
    {%- set value = events ~ '.' ~ total.measure -%}
    {%- if total.aggregate == 'days' -%}
        count(distinct case when {{ value }} is not null and {{ in_period }}
            then {{ evalhouse.distinct_value(total, units, events) }} end)
    {%- elif total.aggregate == 'count_distinct' -%}
        nullif(count(distinct case when {{ in_period }}
            then {{ evalhouse.distinct_value(total, units, events) }} end), 0)
    {%- elif total.aggregate == 'max' -%}
        max(case when {{ in_period }} then {{ value }} end)
    {%- else -%}
        sum(case when {{ in_period }} then {{ value }} end)
    {%- endif -%}
{%- endmacro %}

{#- What a total counts once per unit: the value itself, or the day since the start of observation. -#}
{% macro distinct_value(total, units, events) -%}
    {%- if total.aggregate == 'days' -%}
        {%- set start = evalhouse.shifted(units ~ '.first_exposed_at', total.delay) -%}
        floor({{ evalhouse.seconds_between(start, events ~ '.fact_time') }} / 86400)
    {%- else -%}
        {{ events }}.{{ total.measure }}
    {%- endif -%}
{%- endmacro %}
