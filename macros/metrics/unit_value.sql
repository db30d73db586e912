{#- Value of a metric (of a ratio: its numerator) for one unit: null when the unit is not mature or, with
    `missing: exclude`, has no row; otherwise a unit without rows counts as zero. -#}
{% macro unit_value(metric) -%}
    {%- set total = 'unit_totals.' ~ metric.numerator -%}
    {%- if metric.type == 'participation' -%}
        {%- set days = evalhouse.observed_days(metric) -%}
        case
            when {{ evalhouse.is_mature(metric, 'unit_totals') }}
                then least({{ total }} / cast({{ days }} as {{ evalhouse.type_double() }}), 1)
        end
    {%- elif metric.missing == 'exclude' and metric.type == 'ratio' -%}
        case
            when {{ evalhouse.is_mature(metric, 'unit_totals') }}
                and unit_totals.{{ metric.denominator_total }} is not null
                then coalesce({{ total }}, 0)
        end
    {%- elif metric.missing == 'exclude' -%}
        case when {{ evalhouse.is_mature(metric, 'unit_totals') }} then {{ total }} end
    {%- else -%}
        case when {{ evalhouse.is_mature(metric, 'unit_totals') }} then coalesce({{ total }}, 0) end
    {%- endif -%}
{%- endmacro %}

{% macro unit_denominator(metric) -%}
    {%- set total = 'unit_totals.' ~ metric.denominator_total -%}
    {%- set value = total if metric.missing == 'exclude' else 'coalesce(' ~ total ~ ', 0)' -%}
    case when {{ evalhouse.is_mature(metric, 'unit_totals') }} then {{ value }} end
{%- endmacro %}

{#- Value before first exposure, for the units whose value counts. Where rows may be missing it stays null here: the
    moments put the experiment's mean in its place, which moves no estimate. -#}
{% macro unit_covariate(metric, total) -%}
    {%- if metric.missing == 'exclude' -%}
        {%- set counted = metric.denominator_total if metric.type == 'ratio' else metric.numerator -%}
        case
            when {{ evalhouse.is_mature(metric, 'unit_totals') }} and unit_totals.{{ counted }} is not null
                then unit_totals.{{ total }}
        end
    {%- else -%}
        case when {{ evalhouse.is_mature(metric, 'unit_totals') }} then coalesce(unit_totals.{{ total }}, 0) end
    {%- endif -%}
{%- endmacro %}

{#- Days from the start of observation to its end, at least one. -#}
{% macro observed_days(metric) -%}
    {%- if metric.span_seconds is not none -%}
        {{ [1, (metric.span_seconds / 86400) | round(0, 'ceil') | int] | max }}
    {%- else -%}
        {%- set start = evalhouse.shifted('unit_totals.first_exposed_at', metric.start_seconds) -%}
        greatest(1, ceil({{ evalhouse.seconds_between(start, 'unit_totals.horizon_at') }} / 86400))
    {%- endif -%}
{%- endmacro %}
