{#- Whether an event at `time` falls into the period of a per-unit total: after first exposure, within the metric's
    delay and window (ends included, as the conversion window may run past the experiment's end), or before it (the
    covariate, strictly before). -#}
{% macro period_condition(total, time, first_exposed_at, horizon_at) -%}
    {%- set start = evalhouse.shifted(first_exposed_at, total.delay) -%}
    {%- if total.period == 'before' -%}
        {%- set seconds = (total.days * 86400) | round | int -%}
        {{ time }} < {{ start }}
        and {{ time }} >= {{ evalhouse.shifted(first_exposed_at, total.delay - seconds) }}
    {%- elif total.window is not none -%}
        {{ time }} >= {{ start }}
        and {{ time }} <= {{ evalhouse.shifted(first_exposed_at, total.delay + total.window) }}
    {%- else -%}
        {{ time }} >= {{ start }} and {{ time }} <= {{ horizon_at }}
    {%- endif -%}
{%- endmacro %}
