{#- Whether a unit's value can no longer change: its window lies before the watermark of every source that the metric
    needs. A metric that stays open is mature as soon as its observation has begun. -#}
{% macro is_mature(metric, units) -%}
    {%- for fact in metric.covers -%}
        {%- if metric.span_seconds is none and metric.start_seconds <= 0 -%}
            {{ units }}.first_exposed_at <= watermarks.{{ fact }}_complete_until
        {%- else -%}
            {{ evalhouse.shifted(units ~ '.first_exposed_at', metric.start_seconds + (metric.span_seconds or 0)) }}
            <= watermarks.{{ fact }}_watermark_at
        {%- endif -%}
        {{ ' and ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
