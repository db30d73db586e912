{#-
    How often each value of a feature occurs on a day, in every segment. One pass over a monitor's rows for all of its
    features; everything after it works on distinct values. Where both values are null, rows without one are counted.
    Texts that say the same in nearly every row take most of the time of writing them: the monitor follows from the
    feature, and rows of everyone have no segment.
-#}
{%- set monitors = evalhouse.settings().drift_monitors | selectattr('features') | list %}

with
{%- for monitor in monitors %}
{%- set columns = evalhouse.drift_columns(monitor) %}

monitor_{{ monitor.name }}_rows as (
    {{ evalhouse.drift_rows(monitor, evalhouse.drift_expressions(columns.features + columns.segments)) }}
),

monitor_{{ monitor.name }}_values as (
    select
        row_date,
        {{ evalhouse.drift_segment_labels(columns.segments) }},
        case
            {%- for feature in columns.features %}
            when grouping({{ feature.column }}) = 0 then {{ feature.number }}
            {%- endfor %}
        end as feature_number,
        {%- for is_number in [true, false] %}
        case
            {%- for feature in columns.features | selectattr('is_number', 'equalto', is_number) %}
            when grouping({{ feature.column }}) = 0 then {{ feature.column }}
            {%- endfor %}
            when 1 = 0 then cast(null as {{ evalhouse.type_double() if is_number else dbt.type_string() }})
        end as {{ 'number_value' if is_number else 'category' }},
        {%- endfor %}
        cast(count(*) as {{ evalhouse.type_double() }}) as row_count
    from monitor_{{ monitor.name }}_rows
    group by grouping sets (
        {%- for feature in columns.features %}
        {%- set last_feature = loop.last %}
        (row_date, {{ feature.column }}){{ ',' if columns.segments or not loop.last }}
        {%- for segment in columns.segments %}
        (row_date, {{ feature.column }}, {{ segment.column }}){{ ',' if not (last_feature and loop.last) }}
        {%- endfor %}
        {%- endfor %}
    )
),
{%- endfor %}

all_values as (
    {%- for monitor in monitors %}
    select * from monitor_{{ monitor.name }}_values
    {{ 'union all' if not loop.last }}
    {%- else %}
    select
        cast(null as date) as row_date,
        cast(null as {{ dbt.type_string() }}) as segment_name,
        cast(null as {{ dbt.type_string() }}) as segment_value,
        0 as feature_number,
        cast(null as {{ evalhouse.type_double() }}) as number_value,
        cast(null as {{ dbt.type_string() }}) as category,
        cast(0 as {{ evalhouse.type_double() }}) as row_count
    from (select 1 as nothing) as no_row
    where 1 = 0
    {%- endfor %}
)

select
    row_date,
    nullif(segment_name, 'all') as segment_name,
    nullif(segment_value, 'all') as segment_value,
    feature_number,
    number_value,
    category,
    row_count
from all_values
