{#- How often groups of units have each category on a day; a null category counts the rows without one. -#}
{%- set monitors = [] -%}
{%- for monitor in evalhouse.settings().drift_monitors if monitor.unit_column -%}
    {%- set texts = evalhouse.drift_columns(monitor).features | rejectattr('is_number') | list -%}
    {%- if texts -%}
        {%- do monitors.append({'of': monitor, 'texts': texts}) -%}
    {%- endif -%}
{%- endfor -%}
{%- set double = evalhouse.type_double() %}

with
{%- for monitor in monitors %}
{%- set name = 'monitor_' ~ monitor.of.name %}
{%- set segments = evalhouse.drift_columns(monitor.of).segments %}

{{ name }}_rows as (
    {{ evalhouse.drift_rows(monitor.of, evalhouse.drift_expressions(monitor.texts + segments)) }}
),

{{ name }}_grouped as (
    select
        {{ name }}_rows.*,
        {{ evalhouse.unit_group('unit_id') }} as unit_group
    from {{ name }}_rows
),

{{ name }}_counts as (
    select
        row_date,
        unit_group,
        {{ evalhouse.drift_segment_labels(segments) }},
        case
            {%- for feature in monitor.texts %}
            when grouping({{ feature.column }}) = 0 then {{ feature.number }}
            {%- endfor %}
        end as feature_number,
        coalesce({{ monitor.texts | map(attribute='column') | join(', ') }}) as category,
        cast(count(*) as {{ double }}) as row_count
    from {{ name }}_grouped
    group by grouping sets (
        {%- for feature in monitor.texts %}
        {%- set last_feature = loop.last %}
        (row_date, unit_group, {{ feature.column }}){{ ',' if segments or not loop.last }}
        {%- for segment in segments %}
        (row_date, unit_group, {{ feature.column }}, {{ segment.column }}){{ ',' if not (last_feature and loop.last) }}
        {%- endfor %}
        {%- endfor %}
    )
),
{%- endfor %}

all_counts as (
    {%- for monitor in monitors %}
    select
        '{{ monitor.of.name }}' as monitor_name,
        monitor_{{ monitor.of.name }}_counts.*
    from monitor_{{ monitor.of.name }}_counts
    {{ 'union all' if not loop.last }}
    {%- else %}
    select
        cast(null as {{ dbt.type_string() }}) as monitor_name,
        cast(null as date) as row_date,
        cast(null as {{ dbt.type_string() }}) as unit_group,
        cast(null as {{ dbt.type_string() }}) as segment_name,
        cast(null as {{ dbt.type_string() }}) as segment_value,
        0 as feature_number,
        cast(null as {{ dbt.type_string() }}) as category,
        cast(0 as {{ double }}) as row_count
    from (select 1 as nothing) as no_row
    where 1 = 0
    {%- endfor %}
)

select * from all_counts
