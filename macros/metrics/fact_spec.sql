{#- Where the rows of a fact are and which SQL gives unit, time and load time: {name, relation, unit, time, loaded_at,
    columns}. `outcomes`, `traces`, `turns` and `sessions` are the package's own; a name from `facts` is a relation of
    the user. -#}
{% macro fact_spec(name) -%}
    {%- if name == 'outcomes' -%}
        {%- set has_load_time = 'loaded_at' in evalhouse.raw_columns('outcomes') -%}
        {{ return({
            'name': name, 'unit': 'unit_id', 'time': 'occurred_at', 'loaded_at': 'loaded_at' if has_load_time else none,
            'relation': '(select * from ' ~ ref('evalhouse', 'int_outcomes')
                ~ " where outcome_id <> '') as kept_outcomes"
        }) }}
    {%- endif -%}
    {%- if name in ['turns', 'sessions', 'traces'] -%}
        {#- Traces that were seen are what turns and sessions are made of: how far they reach is how far those do. -#}
        {%- set has_load_time = 'loaded_at' in evalhouse.raw_columns('traces') -%}
        {%- set relation = ref('evalhouse', 'int_traces' if name == 'traces' else name) -%}
        {{ return({
            'name': name, 'unit': 'unit_id', 'time': 'started_at', 'loaded_at': 'loaded_at' if has_load_time else none,
            'relation': '(select * from ' ~ relation ~ " where trace_id <> '' and not is_shadow) as seen_traces"
                if name == 'traces' else relation
        }) }}
    {%- endif -%}
    {%- set fact = (evalhouse.settings().facts | selectattr('name', 'equalto', name) | list)[0] -%}
    {%- set parts = fact.relation.split('.') -%}
    {%- set schema = parts[-2] if parts | length > 1 else target.schema -%}
    {%- set database = parts[0] if parts | length > 2 else target.database -%}
    {%- set spec = {
        'name': name, 'relation': fact.relation,
        'unit': fact.unit_column, 'time': fact.time_column, 'loaded_at': fact.loaded_at_column
    } -%}
    {%- if execute -%}
        {%- set relation = adapter.get_relation(database, schema, parts[-1]) -%}
        {%- if relation is none -%}
            {{ exceptions.raise_compiler_error(
                "evalhouse: facts." ~ name ~ ".relation is '" ~ fact.relation ~ "', which does not exist; "
                ~ "allowed: table, schema.table or database.schema.table"
            ) }}
        {%- endif -%}
        {%- set found = {} -%}
        {%- for column in adapter.get_columns_in_relation(relation) -%}
            {%- do found.update({column.name | lower: {'name': column.name, 'data_type': column.data_type | lower}}) -%}
        {%- endfor -%}
        {%- for key in ['unit_column', 'time_column', 'loaded_at_column'] -%}
            {%- if fact[key] and fact[key] | lower not in found -%}
                {{ exceptions.raise_compiler_error(
                    "evalhouse: facts." ~ name ~ "." ~ key ~ " is '" ~ fact[key] ~ "'; allowed: "
                    ~ found.keys() | join(", ")
                ) }}
            {%- endif -%}
        {%- endfor -%}
        {%- set unit = adapter.quote(found[fact.unit_column | lower].name) -%}
        {%- do spec.update({
            'relation': relation, 'unit': "nullif(trim(cast(" ~ unit ~ ' as ' ~ dbt.type_string() ~ ")), '')"
        }) -%}
        {%- for key, column in [('time', fact.time_column), ('loaded_at', fact.loaded_at_column)] if column -%}
            {%- set kind = evalhouse._timestamp_kind(name, found[column | lower]) -%}
            {%- set quoted = adapter.quote(found[column | lower].name) -%}
            {%- do spec.update({key: evalhouse.to_utc_timestamp(quoted, kind)}) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(spec) }}
{%- endmacro %}
