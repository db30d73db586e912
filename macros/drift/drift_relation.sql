{#- Where a monitor's rows are, and which SQL gives their time and unit: {relation, time, unit, training}. -#}
{% macro drift_relation(monitor) -%}
    {%- set own = {
        'exposures': ['stg_exposures', 'rejected_by is null'],
        'outcomes': ['int_outcomes', "outcome_id <> ''"],
        'traces': ['int_traces', "trace_id <> '' and not is_shadow"],
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
    {%- set time = monitor.time_column -%}
    {%- set relation = monitor.relation -%}
    {%- set training = monitor.reference.relation -%}
    {%- if columns -%}
        {%- set relation = evalhouse._drift_found_relation(path ~ '.relation', monitor.relation) -%}
        {%- do evalhouse._drift_check_columns(monitor, path, columns, ['time_column']) -%}
        {%- if monitor.reference.relation -%}
            {%- set training_path = path ~ '.reference.relation' -%}
            {%- set training = evalhouse._drift_found_relation(training_path, monitor.reference.relation) -%}
            {%- do evalhouse._drift_check_columns(
                monitor, path, evalhouse._drift_columns(training_path, monitor.reference.relation),
                ['time_column'] if monitor.performance else [], ' in ' ~ monitor.reference.relation
            ) -%}
        {%- endif -%}
        {%- if unit -%}
            {%- set unit_name = evalhouse.drift_name(monitor, monitor.unit_column) -%}
            {%- set unit = 'cast(' ~ unit_name ~ ' as ' ~ dbt.type_string() ~ ')' -%}
        {%- endif -%}
        {%- set time_column = columns[monitor.time_column | lower] -%}
        {%- set time = evalhouse.to_utc_timestamp(
            adapter.quote(time_column.name), evalhouse._timestamp_kind(monitor.name, time_column)
        ) -%}
    {%- endif -%}
    {{ return({'relation': relation, 'time': time, 'unit': unit, 'training': training}) }}
{%- endmacro %}

{#- Every column that a monitor names has to be there: a compiler error names the key and the columns there are. -#}
{% macro _drift_check_columns(monitor, path, columns, keys, place='') -%}
    {%- set named = [] -%}
    {%- for key in keys + ['unit_column'] if monitor[key] -%}
        {%- do named.append([key ~ " is '", monitor[key]]) -%}
    {%- endfor -%}
    {%- for key in ['slices', 'segments'] -%}
        {%- for column in monitor[key] -%}
            {%- do named.append([key ~ " has '", column]) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for feature in monitor.features if feature.value == feature.name -%}
        {%- do named.append(["features has '", feature.name]) -%}
    {%- endfor -%}
    {%- for key, column in named if column | lower not in columns -%}
        {{ exceptions.raise_compiler_error(
            "evalhouse: " ~ path ~ "." ~ key ~ column ~ "'; allowed" ~ place ~ ": " ~ columns | join(', ')
        ) }}
    {%- endfor -%}
{%- endmacro %}

{#- A column as SQL: quoted as the user's relation spells it, plain in relations of evalhouse's own. -#}
{% macro drift_name(monitor, column) -%}
    {%- set own = ['exposures', 'outcomes', 'traces', 'turns', 'sessions', 'evaluation_scores'] -%}
    {%- if monitor.relation in own -%}
        {{ return(column) }}
    {%- endif -%}
    {%- set columns = evalhouse._drift_columns('drift_monitors.' ~ monitor.name ~ '.relation', monitor.relation) -%}
    {%- set found = columns.get(column | lower) -%}
    {{ return(adapter.quote(found.name) if found else column) }}
{%- endmacro %}

{#- A relation of the user, quoted as the engine needs it. -#}
{% macro _drift_found_relation(path, name) -%}
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
    {{ return(relation) }}
{%- endmacro %}

{#- Columns of a relation of the user, as {lower-case name: {name, data_type}}. Empty while dbt parses. -#}
{% macro _drift_columns(path, name) -%}
    {%- set found = {} -%}
    {%- if execute -%}
        {%- set relation = evalhouse._drift_found_relation(path, name) -%}
        {%- for column in adapter.get_columns_in_relation(relation) -%}
            {%- do found.update({column.name | lower: {'name': column.name, 'data_type': column.data_type | lower}}) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(found) }}
{%- endmacro %}
