{#- Value of a metric (of a ratio: its numerator) for one unit: null when the unit is not mature or, with
    `missing: exclude`, has no row; otherwise a unit without rows counts as zero. -#}
{% macro unit_value(metric, mature, horizon_at) -%}
    {%- set total = 'unit_totals.' ~ metric.numerator -%}
    {%- if metric.type == 'participation' and not horizon_at and metric.span_seconds is none -%}
        case when {{ mature }} then coalesce({{ total }}, 0) end
    {%- else -%}
        case
            when {{ mature }} then {{ evalhouse.value_of_totals(
                metric, total, 'unit_totals.' ~ metric.denominator_total, horizon_at
            ) }}
        end
    {%- endif -%}
{%- endmacro %}

{% macro unit_denominator(metric, mature) -%}
    case
        when {{ mature }} then {{ evalhouse.denominator_of_totals(metric, 'unit_totals.' ~ metric.denominator_total) }}
    end
{%- endmacro %}

{#- Value of a metric that counts, from the totals of its unit; `none` stands for a unit without any row. -#}
{% macro value_of_totals(metric, numerator, denominator, horizon_at=none) -%}
    {%- set number = 'coalesce(' ~ numerator ~ ', 0)' if numerator is not none
        else 'cast(0 as ' ~ evalhouse.type_double() ~ ')' -%}
    {%- if metric.missing == 'exclude' and numerator is none -%}
        cast(null as {{ evalhouse.type_double() }})
    {%- elif metric.type == 'participation' -%}
        {{ evalhouse.share_of_days(
            number, evalhouse.observed_days(metric, 'unit_totals.first_exposed_at', horizon_at)
        ) }}
    {%- elif metric.missing == 'exclude' and metric.type == 'ratio' -%}
        case when {{ denominator }} is not null then {{ number }} end
    {%- elif metric.missing == 'exclude' -%}
        {{ numerator }}
    {%- else -%}
        {{ number }}
    {%- endif -%}
{%- endmacro %}

{% macro denominator_of_totals(metric, denominator) -%}
    {%- if metric.type != 'ratio' or (metric.missing == 'exclude' and denominator is none) -%}
        cast(null as {{ evalhouse.type_double() }})
    {%- elif denominator is none -%}
        cast(0 as {{ evalhouse.type_double() }})
    {%- else -%}
        {{ denominator if metric.missing == 'exclude' else 'coalesce(' ~ denominator ~ ', 0)' }}
    {%- endif -%}
{%- endmacro %}

{#- A total before first exposure of a unit that counts: where rows may be missing it stays null. -#}
{% macro total_before(metric, total) -%}
    {{ return(total if metric.missing == 'exclude' else 'coalesce(' ~ total ~ ', 0)') }}
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
    `horizon_at`. Without one it is what the totals given are worth; there a participation without a window stays the
    number of active days. -#}
{% macro unit_parts(metric, mature, horizon_at) -%}
    {%- set name = metric.name -%}
    {%- if metric.type == 'funnel' -%}
        {%- set reached = 'funnels.' ~ name ~ '__reached_at is not null' if horizon_at
            else 'unit_totals.' ~ name ~ '__is_reached' %}
        case
            when {{ mature }} and {{ reached }} then 1
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
