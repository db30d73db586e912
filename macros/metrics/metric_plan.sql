{#-
    The configured metrics laid out as columns, so that one pass over each fact computes all of them.

    Returns {facts, measures, totals, metrics}:
    - facts: names of the facts that some metric reads;
    - measures: distinct values of one row of a fact, {name, fact, sql}; metrics with equal SQL share one;
    - totals: distinct aggregates of a measure per unit, {name, measure, fact, aggregate, period, delay, window, days};
    - metrics: the configured metric plus {numerator, denominator_total, numerator_before, denominator_before} (names of
      totals or none), {start_seconds, span_seconds} (maturity), {covers} (facts whose watermark it needs) and
      {moves_daily} (whether a unit's value can move without an event of its own).
-#}
{% macro metric_plan() -%}
    {%- set plan = {'facts': [], 'measures': [], 'totals': [], 'metrics': []} -%}
    {%- for metric in evalhouse.settings().metrics -%}
        {%- set entry = dict(metric) -%}
        {%- set covers = [metric.fact] -%}
        {%- do entry.update({
            'start_seconds': (metric.delay_hours * 3600) | round | int,
            'span_seconds': evalhouse._span_seconds(metric),
            'numerator': none, 'denominator_total': none, 'numerator_before': none, 'denominator_before': none
        }) -%}
        {%- set needs_rows_in_order = metric.type == 'funnel' or metric.quantile_of == 'events' -%}
        {%- if not needs_rows_in_order -%}
            {%- do entry.update({'numerator': evalhouse._plan_total(plan, entry, metric, 'after')}) -%}
            {%- if metric.type == 'ratio' -%}
                {%- do covers.append(metric.denominator.fact) -%}
                {%- set total = evalhouse._plan_total(plan, entry, metric.denominator, 'after') -%}
                {%- do entry.update({'denominator_total': total}) -%}
            {%- endif -%}
            {%- if metric.type in ['proportion', 'mean', 'ratio'] -%}
                {%- do entry.update({'numerator_before': evalhouse._plan_total(plan, entry, metric, 'before')}) -%}
                {%- if metric.type == 'ratio' -%}
                    {%- set total = evalhouse._plan_total(plan, entry, metric.denominator, 'before') -%}
                    {%- do entry.update({'denominator_before': total}) -%}
                {%- endif -%}
            {%- endif -%}
        {%- endif -%}
        {#- A unit's value then depends on the day or on the other units: it moves without an event of its own. -#}
        {%- set moves_daily = (metric.type == 'participation' and entry.span_seconds is none)
            or (metric.cap is not none and metric.cap.kind == 'percentile')
            or (metric.missing == 'exclude' and metric.cuped) -%}
        {%- do entry.update({'covers': covers | unique | list, 'moves_daily': moves_daily | default(false, true)}) -%}
        {%- do plan.metrics.append(entry) -%}
    {%- endfor -%}
    {%- do plan.update({'facts': plan.metrics | sum(attribute='covers', start=[]) | unique | list}) -%}
    {{ return(plan) }}
{%- endmacro %}

{#- The planned measures that totals of a period ('before' or 'after' first exposure) aggregate. -#}
{% macro measures_of(plan, period) -%}
    {%- set names = plan.totals | selectattr('period', 'equalto', period) | map(attribute='measure') | list -%}
    {{ return(plan.measures | selectattr('name', 'in', names) | list) }}
{%- endmacro %}

{#- Seconds from the start of observation until a unit's value is final; none when the metric stays open. -#}
{% macro _span_seconds(metric) -%}
    {%- if metric.window_hours is not none -%}
        {{ return((metric.window_hours * 3600) | round | int) }}
    {%- endif -%}
    {%- if metric.type == 'funnel' and metric.steps | selectattr('window_hours', 'none') | list | length == 0 -%}
        {{ return((metric.steps | sum(attribute='window_hours') * 3600) | round | int) }}
    {%- endif -%}
    {{ return(none) }}
{%- endmacro %}

{#- Registers one per-unit aggregate, or finds the equal one, and returns its name. -#}
{% macro _plan_total(plan, metric, part, period) -%}
    {%- set aggregate_of_type = {'proportion': 'max', 'retention': 'max', 'participation': 'days'} -%}
    {%- set aggregate = aggregate_of_type.get(metric.type, part.aggregate) -%}
    {%- set measure = evalhouse._plan_measure(plan, metric.type, part, aggregate) -%}
    {%- set total = {
        'measure': measure, 'fact': part.fact, 'aggregate': aggregate, 'period': period,
        'delay': metric.start_seconds if period == 'after' else [metric.start_seconds, 0] | min,
        'window': metric.span_seconds if period == 'after' else none,
        'days': metric.cuped_days if period == 'before' else none
    } -%}
    {%- for known in plan.totals -%}
        {%- set key = dict(known) -%}
        {%- set name = key.pop('name') -%}
        {%- if key == total -%}
            {{ return(name) }}
        {%- endif -%}
    {%- endfor -%}
    {%- set name = 'total_' ~ (plan.totals | length + 1) -%}
    {%- do total.update({'name': name}) -%}
    {%- do plan.totals.append(total) -%}
    {{ return(name) }}
{%- endmacro %}

{#- Registers the value that one row of a fact adds to an aggregate, null where the row does not count. -#}
{% macro _plan_measure(plan, metric_type, part, aggregate) -%}
    {%- set snippet = evalhouse.sql_snippet(part.value) -%}
    {%- if metric_type in ['proportion', 'retention'] and part.value is not none -%}
        {%- set value = 'case when ' ~ snippet ~ ' > 0 then 1 when ' ~ snippet ~ ' <= 0 then 0 end' -%}
    {%- elif metric_type in ['proportion', 'retention', 'participation'] or part.value is none -%}
        {%- set value = '1' -%}
    {%- elif aggregate == 'count' -%}
        {%- set value = 'case when ' ~ snippet ~ ' is not null then 1 end' -%}
    {%- else -%}
        {%- set value = snippet -%}
    {%- endif -%}
    {%- if aggregate == 'count_distinct' -%}
        {%- set typed = 'cast(' ~ value ~ ' as ' ~ dbt.type_string() ~ ')' -%}
    {%- elif value == '1' -%}
        {%- set typed = 'cast(1 as ' ~ evalhouse.type_double() ~ ')' -%}
    {%- else -%}
        {%- set typed = 'cast(' ~ value ~ ' as ' ~ evalhouse.type_double() ~ ')' -%}
    {%- endif -%}
    {%- if part.where is none -%}
        {%- set sql = typed -%}
    {%- else -%}
        {%- set sql = 'case when ' ~ evalhouse.sql_snippet(part.where) ~ ' then ' ~ typed ~ ' end' -%}
    {%- endif -%}
    {%- for known in plan.measures if known.fact == part.fact and known.sql == sql -%}
        {{ return(known.name) }}
    {%- endfor -%}
    {%- set name = 'measure_' ~ (plan.measures | length + 1) -%}
    {%- do plan.measures.append({
        'name': name, 'fact': part.fact, 'sql': sql, 'where': part.where, 'is_text': aggregate == 'count_distinct'
    }) -%}
    {{ return(name) }}
{%- endmacro %}
