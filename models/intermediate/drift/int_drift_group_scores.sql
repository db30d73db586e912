{#-
    What groups of units add on a day to each feature that is a number. Rows of a unit are alike, so it is units that
    vary; 256 groups of them vary as units do and are few enough to keep. A number is scored by how many of five deciles
    of the reference it exceeds (half of one that it equals): as ranks do, that keeps a few huge values from hiding how
    alike a unit's rows are.
-#}
{%- set monitors = [] -%}
{%- for monitor in evalhouse.settings().drift_monitors if monitor.unit_column -%}
    {%- set numbers = evalhouse.drift_columns(monitor).features | selectattr('is_number') | list -%}
    {%- if numbers -%}
        {%- do monitors.append({'of': monitor, 'numbers': numbers}) -%}
    {%- endif -%}
{%- endfor -%}
{%- set double = evalhouse.type_double() %}

with day_edges as (
    select * from {{ ref('evalhouse', 'int_drift_day_edges') }}
),
{%- for monitor in monitors %}
{%- set name = 'monitor_' ~ monitor.of.name %}
{%- set segments = evalhouse.drift_columns(monitor.of).segments %}

{{ name }}_rows as (
    {{ evalhouse.drift_rows(monitor.of, evalhouse.drift_expressions(monitor.numbers + segments)) }}
),

{{ name }}_edges as (
    select
        row_date
        {%- for feature in monitor.numbers %}
        {%- for k in [1, 3, 5, 7, 9] %},
        max(case when feature_number = {{ feature.number }} then edge_{{ k }} end) as {{ feature.column }}_edge_{{ k }}
        {%- endfor %}
        {%- endfor %}
    from day_edges
    where monitor_name = '{{ monitor.of.name }}'
    group by row_date
),

{{ name }}_scores as (
    select
        {{ name }}_rows.row_date,
        {{ evalhouse.unit_group(name ~ '_rows.unit_id') }} as unit_group
        {%- for segment in segments %},
        {{ name }}_rows.{{ segment.column }}
        {%- endfor %}
        {%- for feature in monitor.numbers %},
        case
            when {{ name }}_rows.{{ feature.column }} is not null
                then 0e0
                {%- for k in [1, 3, 5, 7, 9] %}
                + case
                    when {{ name }}_rows.{{ feature.column }} > {{ name }}_edges.{{ feature.column }}_edge_{{ k }}
                        then 1e0
                    when {{ name }}_rows.{{ feature.column }} = {{ name }}_edges.{{ feature.column }}_edge_{{ k }}
                        then 5e-1
                    else 0e0
                end
                {%- endfor %}
        end as {{ feature.column }}
        {%- endfor %}
    from {{ name }}_rows
    inner join {{ name }}_edges on {{ name }}_rows.row_date = {{ name }}_edges.row_date
),

{{ name }}_sums as (
    select
        row_date,
        unit_group,
        {{ evalhouse.drift_segment_labels(segments) }},
        cast(count(*) as {{ double }}) as row_count
        {%- for feature in monitor.numbers %},
        cast(count({{ feature.column }}) as {{ double }}) as {{ feature.column }}_count,
        sum({{ feature.column }}) as {{ feature.column }}_sum,
        sum({{ feature.column }} * {{ feature.column }}) as {{ feature.column }}_squares
        {%- endfor %}
    from {{ name }}_scores
    {{ evalhouse.drift_grouping(['row_date', 'unit_group'], segments) }}
),
{%- endfor %}

all_sums as (
    {%- for monitor in monitors %}
    {%- set last_monitor = loop.last %}
    {%- for feature in monitor.numbers %}
    select
        '{{ monitor.of.name }}' as monitor_name,
        {{ feature.number }} as feature_number,
        segment_name,
        segment_value,
        row_date,
        unit_group,
        row_count,
        {{ feature.column }}_count as value_count,
        coalesce({{ feature.column }}_sum, 0e0) as score_sum,
        coalesce({{ feature.column }}_squares, 0e0) as score_squares
    from monitor_{{ monitor.of.name }}_sums
    {{ 'union all' if not (last_monitor and loop.last) }}
    {%- endfor %}
    {%- else %}
    select
        cast(null as {{ dbt.type_string() }}) as monitor_name,
        0 as feature_number,
        cast(null as {{ dbt.type_string() }}) as segment_name,
        cast(null as {{ dbt.type_string() }}) as segment_value,
        cast(null as date) as row_date,
        cast(null as {{ dbt.type_string() }}) as unit_group,
        cast(0 as {{ double }}) as row_count,
        cast(0 as {{ double }}) as value_count,
        cast(0 as {{ double }}) as score_sum,
        cast(0 as {{ double }}) as score_squares
    from (select 1 as nothing) as no_row
    where 1 = 0
    {%- endfor %}
)

select * from all_sums
