{#- Goals whose value of one day has a meaning of its own, in the form of the metric plan: open-ended means and proportions
    without delay, whose total is not a count of distinct things and where no row is a zero. -#}
{% macro trending_metrics() -%}
    {%- set metrics = [] -%}
    {%- for metric in evalhouse.metric_plan().metrics
        if metric.role == 'goal' and metric.type in ['mean', 'proportion'] and metric.numerator
        and metric.span_seconds is none and metric.start_seconds == 0 and metric.missing == 'zero'
        and metric.aggregate != 'count_distinct' -%}
        {%- do metrics.append(metric) -%}
    {%- endfor -%}
    {{ return(metrics) }}
{%- endmacro %}
