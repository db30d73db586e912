{#- Select of one row with the watermarks of every fact side by side: <fact>_watermark_at and <fact>_complete_until. -#}
{% macro fact_watermarks(facts) -%}
    select
        {%- for fact in facts %}
        max(case when source_name = '{{ fact }}' then watermark_at end) as {{ fact }}_watermark_at,
        max(case when source_name = '{{ fact }}' then complete_until end) as {{ fact }}_complete_until,
        {%- endfor %}
        max(as_of_at) as as_of_at
    from {{ ref('evalhouse', 'int_watermarks') }}
{%- endmacro %}
