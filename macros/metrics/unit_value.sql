{#- Value of a metric (of a ratio: its numerator) for one unit: null when the unit is not mature or, with
    `missing: exclude`, has no row; otherwise a unit without rows counts as zero. -#}
{% macro unit_value(metric, mature, horizon_at) -%}
    {%- set total = 'unit_totals.' ~ metric.numerator -%}
    {%- if metric.type == 'participation' and (horizon_at or metric.span_seconds is not none) -%}
        case
            when {{ mature }} then {{ evalhouse.share_of_days(
                'coalesce(' ~ total ~ ', 0)',
                evalhouse.observed_days(metric, 'unit_totals.first_exposed_at', horizon_at)
            ) }}
        end
    {%- elif metric.missing == 'exclude' and metric.type == 'ratio' -%}
        case
            when {{ mature }} and unit_totals.{{ metric.denominator_total }} is not null then coalesce({{ total }}, 0)
        end
    {%- elif metric.missing == 'exclude' -%}
        case when {{ mature }} then {{ total }} end
    {%- else -%}
        case when {{ mature }} then coalesce({{ total }}, 0) end
    {%- endif -%}
{%- endmacro %}

{% macro unit_denominator(metric, mature) -%}
    {%- set total = 'unit_totals.' ~ metric.denominator_total -%}
    {%- set value = total if metric.missing == 'exclude' else 'coalesce(' ~ total ~ ', 0)' -%}
    case when {{ mature }} then {{ value }} end
{%- endmacro %}

{#- Value before first exposure, for the units whose value counts. Where rows may be missing it stays null here: the
    moments put the experiment's mean in its place, which moves no estimate. -#}
{% macro unit_covariate(metric, total, mature) -%}
    {%- if metric.missing == 'exclude' -%}
        {%- set counted = metric.denominator_total if metric.type == 'ratio' else metric.numerator -%}
        case when {{ mature }} and unit_totals.{{ counted }} is not null then unit_totals.{{ total }} end
    {%- else -%}
        case when {{ mature }} then coalesce(unit_totals.{{ total }}, 0) end
    {%- endif -%}
{%- endmacro %}

{#- Active days over observed days, at most one. -#}
{% macro share_of_days(active_days, days) -%}
    least({{ active_days }} / cast({{ days }} as {{ evalhouse.type_double() }}), 1)
{%- endmacro %}

{#- Days from the start of observation to its end, at least one. -#}
{% macro observed_days(metric, first_exposed_at, horizon_at) -%}
    {%- if metric.span_seconds is not none -%}
        {{ [1, (metric.span_seconds / 86400) | round(0, 'ceil') | int] | max }}
    {%- else -%}
        {%- set start = evalhouse.shifted(first_exposed_at, metric.start_seconds) -%}
        greatest(1, ceil({{ evalhouse.seconds_between(start, horizon_at) }} / 86400))
    {%- endif -%}
{%- endmacro %}

{#- Every part of a metric for one unit, as columns <metric>__<part>: what its totals or its funnel make of it up to
    `horizon_at`. Without one it is what they are at the end of the day `unit_totals.valid_from`; there a participation
    without a window stays the number of active days. -#}
{% macro unit_parts(metric, mature, horizon_at) -%}
    {%- set name = metric.name -%}
    {%- if metric.type == 'funnel' -%}
        case
            when {{ mature }} and
            {%- if horizon_at %} funnels.{{ name }}__reached_at is not null
            {%- else %} cast(funnels.{{ name }}__reached_at as date) <= unit_totals.valid_from
            {%- endif %} then 1
            when {{ mature }} then 0
        end as {{ name }}__y
    {%- else -%}
        {{ evalhouse.unit_value(metric, mature, horizon_at) }} as {{ name }}__y
        {%- if metric.denominator_total %},
        {{ evalhouse.unit_denominator(metric, mature) }} as {{ name }}__d
        {%- endif %}
        {%- if metric.numerator_before %},
        {{ evalhouse.unit_covariate(metric, metric.numerator_before, mature) }} as {{ name }}__x
        {%- endif %}
        {%- if metric.denominator_before %},
        {{ evalhouse.unit_covariate(metric, metric.denominator_before, mature) }} as {{ name }}__w
        {%- endif %}
    {%- endif -%}
{%- endmacro %}
