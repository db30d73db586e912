{#- Where a monitor's rows are, and which SQL gives their time and unit: {relation, time, unit, training}. -#}
{% macro drift_relation(monitor) -%}
    {%- set own = {
        'exposures': ['stg_exposures', 'rejected_by is null'],
        'outcomes': ['int_outcomes', none],
        'traces': ['int_traces', 'not is_shadow'],
        'turns': ['turns', none],
        'sessions': ['sessions', none],
        'evaluation_scores': ['int_evaluation_scores', none],
    }.get(monitor.relation) -%}
    {%- set unit = 'cast(' ~ monitor.unit_column ~ ' as ' ~ dbt.type_string() ~ ')' if monitor.unit_column else none -%}
    {%- if own -%}
        {%- set relation = ref('evalhouse', own[0]) -%}
        {%- set relation = '(select * from ' ~ relation ~ ' where ' ~ own[1] ~ ') as rows_of_monitor' if own[1]
            else relation -%}
        {{ return({
            'relation': relation, 'time': monitor.time_column, 'unit': unit, 'training': monitor.reference.relation
        }) }}
    {%- endif -%}
    {%- if evalhouse.example_is_active() and monitor.relation == 'raw.ticket_predictions' -%}
        {#- The example's own table is a seed of this project: it loads before anything reads it. -#}
        {%- set seed = ref('evalhouse', 'ticket_predictions') -%}
    {%- endif -%}
    {%- set path = 'drift_monitors.' ~ monitor.name -%}
    {%- set columns = evalhouse._drift_columns(path ~ '.relation', monitor.relation) -%}
    {%- if monitor.reference.relation -%}
        {%- do evalhouse._drift_columns(path ~ '.reference.relation', monitor.reference.relation) -%}
    {%- endif -%}
    {%- set time = monitor.time_column -%}
    {%- if columns -%}
        {%- set named = [['time_column', monitor.time_column], ['unit_column', monitor.unit_column]] -%}
        {%- for key, column in named if column and column | lower not in columns -%}
            {{ exceptions.raise_compiler_error(
                "evalhouse: " ~ path ~ "." ~ key ~ " is '" ~ column ~ "'; allowed: " ~ columns | join(', ')
            ) }}
        {%- endfor -%}
        {%- for key in ['slices', 'segments'] -%}
            {%- for column in monitor[key] if column | lower not in columns -%}
                {{ exceptions.raise_compiler_error(
                    "evalhouse: " ~ path ~ "." ~ key ~ " has '" ~ column ~ "'; allowed: " ~ columns | join(', ')
                ) }}
            {%- endfor -%}
        {%- endfor -%}
        {%- set time_column = columns[monitor.time_column | lower] -%}
        {%- set time = evalhouse.to_utc_timestamp(
            adapter.quote(time_column.name), evalhouse._timestamp_kind(monitor.name, time_column)
        ) -%}
    {%- endif -%}
    {{ return({
        'relation': monitor.relation, 'time': time, 'unit': unit, 'training': monitor.reference.relation
    }) }}
{%- endmacro %}

{#- Columns of a relation of the user, as {lower-case name: {name, data_type}}. Empty while dbt parses. -#}
{% macro _drift_columns(path, name) -%}
    {%- set found = {} -%}
    {%- if execute -%}
        {%- set parts = name.split('.') -%}
        {%- set schema = parts[-2] if parts | length > 1 else target.schema -%}
        {%- set relation = adapter.get_relation(
            parts[0] if parts | length > 2 else target.database, schema, parts[-1]
        ) -%}
        {%- if relation is none -%}
            {{ exceptions.raise_compiler_error(
                "evalhouse: " ~ path ~ " is '" ~ name ~ "', which does not exist; allowed: an input of evalhouse, or "
                ~ "table, schema.table or database.schema.table"
            ) }}
        {%- endif -%}
        {%- for column in adapter.get_columns_in_relation(relation) -%}
            {%- do found.update({column.name | lower: {'name': column.name, 'data_type': column.data_type | lower}}) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(found) }}
{%- endmacro %}
