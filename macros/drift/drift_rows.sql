{#-
    Select of a monitor's rows up to `as_of`: row_date, unit_id (null where rows stand for themselves) and `columns`, a
    mapping of names to SQL. Rows of a fixed or a training reference all have its `reference_date`, so that they are
    one block however many days they span.
-#}
{% macro drift_rows(monitor, columns) -%}
    {%- set spec = evalhouse.drift_relation(monitor) -%}
    {%- set reference = monitor.reference -%}
    {%- set row_date = 'cast(' ~ spec.time ~ ' as date)' -%}
    select
        {%- if reference.kind == 'fixed' %}
        case
            when {{ row_date }} >= cast('{{ reference.start }}' as date)
                and {{ row_date }} < cast('{{ reference.end }}' as date)
                then {{ evalhouse.reference_date(monitor) }}
            else {{ row_date }}
        end as row_date,
        {%- else %}
        {{ row_date }} as row_date,
        {%- endif %}
        {{ spec.unit or 'cast(null as ' ~ dbt.type_string() ~ ')' }} as unit_id
        {%- for name, expression in columns.items() %},
        {{ expression }} as {{ name }}
        {%- endfor %}
    from {{ spec.relation }}
    where {{ spec.time }} is not null
        {%- if evalhouse.settings().analysis.as_of %}
        and {{ spec.time }} <= {{ evalhouse.as_of_literal() }}
        {%- endif %}
    {%- if spec.training %}

    union all

    select
        {{ evalhouse.reference_date(monitor) }} as row_date,
        {{ spec.unit or 'cast(null as ' ~ dbt.type_string() ~ ')' }} as unit_id
        {%- for name, expression in columns.items() %},
        {{ expression }} as {{ name }}
        {%- endfor %}
    from {{ spec.training }}
    {%- endif %}
{%- endmacro %}

{#- The day that stands for all of a reference that does not move with the window; null for one that does. -#}
{% macro reference_date(monitor) -%}
    {%- if monitor.reference.kind == 'fixed' -%}
        cast('{{ monitor.reference.start }}' as date)
    {%- elif monitor.reference.kind == 'training' -%}
        cast('1900-01-01' as date)
    {%- else -%}
        cast(null as date)
    {%- endif -%}
{%- endmacro %}

{#- SQL of a feature's value: a finite number, or a text that is not blank; null is a missing value. What only scripts
    can compare, whole texts and vectors, is there or is not. -#}
{% macro drift_value(feature) -%}
    {%- if feature.kind == 'text_length' -%}
        cast(length({{ feature.value }}) as {{ evalhouse.type_double() }})
    {%- elif feature.kind == 'numeric' -%}
        {%- set number = 'cast(' ~ feature.value ~ ' as ' ~ evalhouse.type_double() ~ ')' -%}
        {#- Not a number compares as the greatest, so this leaves it out, too. Beyond 1e60 squares of sums overflow. -#}
        case when {{ number }} > -1e60 and {{ number }} < 1e60 then {{ number }} end
    {%- elif feature.kind == 'categorical' -%}
        nullif(trim(cast({{ feature.value }} as {{ dbt.type_string() }})), '')
    {%- else -%}
        case when {{ feature.value }} is not null then 'present' end
    {%- endif -%}
{%- endmacro %}

{#- SQL of the value of a segment or a slice: never null. -#}
{% macro drift_label(column) -%}
    coalesce(nullif(trim(cast({{ column }} as {{ dbt.type_string() }})), ''), '(missing)')
{%- endmacro %}

{#- The columns of a monitor's rows that hold its features and its segments: two lists of {column, sql, name, kind}. -#}
{% macro drift_columns(monitor) -%}
    {%- set features = [] -%}
    {%- for feature in monitor.features -%}
        {%- set feature = dict(feature, value=evalhouse.drift_name(monitor, feature.name))
            if feature.value == feature.name else feature -%}
        {%- do features.append({
            'column': 'feature_' ~ feature.number, 'sql': evalhouse.drift_value(feature), 'name': feature.name,
            'kind': feature.kind, 'number': feature.number, 'is_number': feature.kind in ['numeric', 'text_length'],
        }) -%}
    {%- endfor -%}
    {%- set segments = [] -%}
    {%- for segment in monitor.segments -%}
        {%- do segments.append({
            'column': 'segment_' ~ loop.index, 'name': segment,
            'sql': evalhouse.drift_label(evalhouse.drift_name(monitor, segment)),
        }) -%}
    {%- endfor -%}
    {{ return({'features': features, 'segments': segments}) }}
{%- endmacro %}

{#- Columns as the mapping that `drift_rows` takes. -#}
{% macro drift_expressions(columns) -%}
    {%- set expressions = {} -%}
    {%- for column in columns -%}
        {%- do expressions.update({column.column: column.sql}) -%}
    {%- endfor -%}
    {{ return(expressions) }}
{%- endmacro %}

{#- Name and value of the segment that a row of grouping sets belongs to. -#}
{% macro drift_segment_labels(segments) -%}
    {%- if segments -%}
        case
            {%- for segment in segments %}
            when {{ segment.column }} is not null then '{{ segment.name }}'
            {%- endfor %}
            else 'all'
        end as segment_name,
        coalesce({{ segments | map(attribute='column') | join(', ') }}, 'all') as segment_value
    {%- else -%}
        'all' as segment_name,
        'all' as segment_value
    {%- endif -%}
{%- endmacro %}

{#- Grouping sets that give one row per key for everyone and one per key and value of each segment. -#}
{% macro drift_grouping(key, segments) -%}
    group by grouping sets (
        ({{ key | join(', ') }})
        {%- for segment in segments %},
        ({{ key | join(', ') }}, {{ segment.column }})
        {%- endfor %}
    )
{%- endmacro %}

{#- One of 256 groups of units, the same on every engine. -#}
{% macro unit_group(unit) -%}
    substr({{ dbt.hash(unit) }}, 1, 2)
{%- endmacro %}

{#- Names of the monitors of which a window and its reference are one day each, or of the others, as SQL literals. -#}
{% macro drift_monitor_names(one_day) -%}
    {%- set names = [] -%}
    {%- for monitor in evalhouse.settings().drift_monitors -%}
        {%- set is_one_day = monitor.window_days == 1 and monitor.reference.kind in ['fixed', 'training'] -%}
        {%- if is_one_day == one_day -%}
            {%- do names.append("'" ~ monitor.name ~ "'") -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(names | join(', ') or "''") }}
{%- endmacro %}
