{#-
    Sums of each measure of quality by day, segment, slice and group of units: what every window and its reference are
    put together from. One pass over a monitor's rows for all of its measures, after a look at where their values lie.
    64 groups, by hash, stand for the units: more degrees of freedom would hardly narrow an interval, and the sums stay
    small however many units there are.
-#}
{%- set monitors = evalhouse.settings().drift_monitors | selectattr('performance') | list -%}
{%- set double = evalhouse.type_double() -%}
{%- set sums = ['rows', 'weight', 'value', 'weight_squares', 'products', 'value_squares', 'nonzero'] %}

with
{%- for monitor in monitors %}
{%- set plan = evalhouse.drift_measures(monitor) %}
{%- set means = plan.measures | rejectattr('weight') | list %}
{%- set segments = evalhouse.drift_columns(monitor).segments %}
{%- set steps = plan.labels | map(attribute='column') | map('replace', 'label_', 'step_') | list %}
{%- set grain = ['row_date', 'slice', 'unit_group'] + steps %}

monitor_{{ monitor.name }}_rows as (
    {{ evalhouse.drift_measure_rows(monitor) | indent(4) }}
),
{%- if means %}

-- A mean that is large beside the spread would cost the sums below their digits.
monitor_{{ monitor.name }}_centres as (
    select
        {%- for measure in means %}
        {%- set value = measure.column ~ '_value' %}
        case
            when stddev_samp({{ value }}) > 0 and abs(avg({{ value }})) > 1000 * stddev_samp({{ value }})
                then avg({{ value }})
            else cast(0 as {{ double }})
        end as {{ measure.column }}_centre{{ ',' if not loop.last }}
        {%- endfor %}
    from (
        {{ evalhouse.drift_measure_rows(monitor) | indent(8) }}
    ) as rows_to_centre
),
{%- endif %}

monitor_{{ monitor.name }}_centred as (
    select
        rows_of_monitor.row_date,
        rows_of_monitor.slice,
        rows_of_monitor.unit_group,
        {%- for label in plan.labels %}
        rows_of_monitor.{{ label.column }}_at,
        rows_of_monitor.{{ label.column }}_step as {{ label.column | replace('label_', 'step_') }},
        {%- endfor %}
        {%- for segment in segments %}
        rows_of_monitor.{{ segment.column }},
        {%- endfor %}
        {%- for measure in plan.measures %}
        {%- set column = measure.column %}
        {%- if measure.weight %}
        cast(0 as {{ double }}) as {{ column }}_centre,
        rows_of_monitor.{{ column }}_value,
        {%- else %}
        centres.{{ column }}_centre,
        rows_of_monitor.{{ column }}_value - centres.{{ column }}_centre as {{ column }}_value,
        {%- endif %}
        rows_of_monitor.{{ column }}_weight,
        case when rows_of_monitor.{{ column }}_value <> 0 then 1 end as {{ column }}_nonzero{{ ',' if not loop.last }}
        {%- endfor %}
    from monitor_{{ monitor.name }}_rows as rows_of_monitor
    {%- if means %}
    cross join monitor_{{ monitor.name }}_centres as centres
    {%- endif %}
),

monitor_{{ monitor.name }}_sums as (
    select
        {{ grain | join(',\n        ') }},
        {{ evalhouse.drift_segment_labels(segments) }},
        count(*) as rows_seen
        {%- for label in plan.labels %},
        max({{ label.column }}_at) as {{ label.column }}_at
        {%- endfor %}
        {%- for measure in plan.measures %}
        {%- set column = measure.column %},
        max({{ column }}_centre) as {{ column }}_centre,
        count({{ column }}_value) as {{ column }}_rows,
        sum({{ column }}_value) as {{ column }}_value,
        sum({{ column }}_value * {{ column }}_value) as {{ column }}_value_squares,
        count({{ column }}_nonzero) as {{ column }}_nonzero
        {%- if measure.weight %},
        sum({{ column }}_weight) as {{ column }}_weight,
        sum({{ column }}_weight * {{ column }}_weight) as {{ column }}_weight_squares,
        sum({{ column }}_weight * {{ column }}_value) as {{ column }}_products
        {%- endif %}
        {%- endfor %}
    from monitor_{{ monitor.name }}_centred
    group by grouping sets (
        ({{ grain | join(', ') }}){{ ',' if segments }}
        {%- for segment in segments %}
        ({{ grain | join(', ') }}, {{ segment.column }}){{ ',' if not loop.last }}
        {%- endfor %}
    )
),
{%- endfor %}

slice_sums as (
    {%- for monitor in monitors %}
    {%- set last_monitor = loop.last %}
    {%- for measure in evalhouse.drift_measures(monitor).measures %}
    {%- set column = measure.column %}
    select
        '{{ monitor.name }}' as monitor_name,
        '{{ measure.name }}' as measure_name,
        row_date,
        segment_name,
        segment_value,
        slice,
        unit_group,
        -- Without a label's time there is nothing to wait for.
        {{ measure.label | replace('label_', 'step_') if measure.label else 0 }} as label_step,
        {% if measure.label -%}
        case when {{ column }}_rows > 0 then {{ measure.label }}_at end
        {%- else -%}
        cast(null as {{ dbt.type_timestamp() }})
        {%- endif %} as newest_labelled_at,
        {{ column }}_centre as centre,
        cast(rows_seen as {{ double }}) as rows_seen,
        {%- set plain = {} if measure.weight else {'weight': 'rows', 'weight_squares': 'rows', 'products': 'value'} %}
        {%- for part in sums %}
        cast(coalesce({{ column }}_{{ plain.get(part, part) }}, 0) as {{ double }}) as {{ part }}_sum
            {{- ',' if not loop.last }}
        {%- endfor %}
    from monitor_{{ monitor.name }}_sums
    {{ 'union all' if not (last_monitor and loop.last) }}
    {%- endfor %}
    {%- else %}
    select
        {%- for name in ['monitor_name', 'measure_name', 'segment_name', 'segment_value', 'slice', 'unit_group'] %}
        cast(null as {{ dbt.type_string() }}) as {{ name }},
        {%- endfor %}
        cast(null as date) as row_date,
        cast(null as {{ dbt.type_int() }}) as label_step,
        cast(null as {{ dbt.type_timestamp() }}) as newest_labelled_at,
        cast(null as {{ double }}) as centre,
        cast(null as {{ double }}) as rows_seen
        {%- for part in sums %},
        cast(null as {{ double }}) as {{ part }}_sum
        {%- endfor %}
    from (select 1 as nothing) as no_row
    where 1 = 0
    {%- endfor %}
)

select * from slice_sums
