{#- One select over the user's table in which every column of the contract exists with its type: a column that the
    table lacks is null, an input that the project does not have is an empty relation. Kinds: text (blank is null),
    double, boolean, timestamp (UTC), double_array (a vector), presence_of:<column> (true where the raw column is not
    null), and stored_time:<column> (the raw column itself where it has the right type already: an engine can skip rows
    by a condition on that, but not by one on a time that was checked). -#}
{% macro typed_input(input_name, columns, required, extra_columns=[]) -%}
    {%- set found = evalhouse.raw_columns(input_name) -%}
    {%- set relation = source('evalhouse_raw', input_name) -%}
    {#- Not read, but built before. -#}
    {%- set gate = ref('evalhouse', 'run_gate') -%}
    {%- if evalhouse.example_is_active() -%}
        {#- The example's raw tables are seeds of this project: they load before anything reads them. -#}
        {%- set seed = ref('evalhouse', input_name) -%}
    {%- endif -%}
    {%- if not evalhouse.has_input(input_name) -%}
        select
            {%- for name, kind in columns.items() %}
            {{ evalhouse._missing_column(kind) }} as {{ name }}{{ ',' if not loop.last }}
            {%- endfor %}
        from (select 1 as nothing) as no_row
        where 1 = 0
    {%- else -%}
        {%- for name in required if execute and name not in found -%}
            {{ exceptions.raise_compiler_error(
                "evalhouse: input " ~ input_name ~ " (" ~ relation ~ ") has no column " ~ name ~ "; required: "
                ~ required | join(", ")
            ) }}
        {%- endfor -%}
        select
            {%- for name in extra_columns %}
            {{ adapter.quote(name) }},
            {%- endfor %}
            {%- for name, kind in columns.items() %}
            {{ evalhouse._typed_column(input_name, name, kind, found) }} as {{ name }}{{ ',' if not loop.last }}
            {%- endfor %}
        from {{ relation }}
    {%- endif -%}
{%- endmacro %}

{% macro _missing_column(kind) -%}
    {%- if kind == 'double_array' -%}{{ evalhouse.to_double_array('null', 'text') }}
    {%- else -%}cast(null as {{ evalhouse._type_of_kind(kind) }})
    {%- endif -%}
{%- endmacro %}

{% macro _type_of_kind(kind) -%}
    {%- if kind == 'timestamp' or kind.startswith('stored_time:') -%}{{ dbt.type_timestamp() }}
    {%- elif kind == 'double' -%}{{ evalhouse.type_double() }}
    {%- elif kind == 'boolean' or kind.startswith('presence_of:') -%}{{ dbt.type_boolean() }}
    {%- else -%}{{ dbt.type_string() }}
    {%- endif -%}
{%- endmacro %}

{% macro _typed_column(input_name, name, kind, found) -%}
    {%- set column = found.get(kind.split(':')[1] if ':' in kind else name | lower) -%}
    {%- if column is none -%}
        {{ 'false' if kind.startswith('presence_of:') else evalhouse._missing_column(kind) }}
    {%- elif kind.startswith('stored_time:') and column.data_type in ['timestamp', 'timestamp without time zone'] -%}
        {{ adapter.quote(column.name) }}
    {%- elif kind.startswith('stored_time:') -%}
        {{ evalhouse._typed_column(input_name, column.name, 'timestamp', found) }}
    {%- elif ':' in kind -%}
        ({{ adapter.quote(column.name) }} is not null)
    {%- elif kind == 'timestamp' -%}
        {{ evalhouse.to_utc_timestamp(adapter.quote(column.name), evalhouse._timestamp_kind(input_name, column)) }}
    {%- elif kind == 'double' -%}
        {{ evalhouse.to_double(adapter.quote(column.name), column.data_type) }}
    {%- elif kind == 'double_array' -%}
        {{ evalhouse.to_double_array(adapter.quote(column.name), column.data_type) }}
    {%- elif kind == 'boolean' and column.data_type.startswith('bool') -%}
        {{ adapter.quote(column.name) }}
    {%- elif kind == 'boolean' -%}
        {%- set text = 'lower(trim(cast(' ~ adapter.quote(column.name) ~ ' as ' ~ dbt.type_string() ~ ')))' %}
        case
            when {{ text }} in ('true', 't', 'yes', 'y', 'on', '1', '1.0') then true
            when {{ text }} in ('false', 'f', 'no', 'n', 'off', '0', '0.0') then false
        end
    {%- else -%}
        nullif(trim(cast({{ adapter.quote(column.name) }} as {{ dbt.type_string() }})), '')
    {%- endif -%}
{%- endmacro %}

{% macro _timestamp_kind(input_name, column) -%}
    {%- set data_type = column.data_type -%}
    {#- Snowflake says TIMESTAMP_TZ(9). -#}
    {%- set base_type = data_type.split('(')[0] -%}
    {%- if 'with time zone' in data_type or base_type in ['timestamptz', 'timestamp_tz', 'timestamp_ltz'] -%}
        {{ return('zoned') }}
    {%- elif data_type.startswith('timestamp') or data_type.startswith('datetime') or data_type == 'date' -%}
        {{ return('naive') }}
    {%- elif 'char' in data_type or data_type in ['text', 'string'] -%}
        {{ return('text') }}
    {%- endif -%}
    {{ exceptions.raise_compiler_error(
        "evalhouse: column " ~ column.name ~ " of input " ~ input_name ~ " is of type " ~ data_type
        ~ "; allowed: timestamp, timestamp with time zone, date, text"
    ) }}
{%- endmacro %}
