{% macro seconds_between(earlier, later) -%}
    {{ return(adapter.dispatch('seconds_between', 'evalhouse')(earlier, later)) }}
{%- endmacro %}

{% macro default__seconds_between(earlier, later) -%}
    cast({{ dbt.datediff(earlier, later, 'second') }} as {{ evalhouse.type_double() }})
{%- endmacro %}

{% macro duckdb__seconds_between(earlier, later) -%}
    ((epoch_us({{ later }}) - epoch_us({{ earlier }})) / 1e6)
{%- endmacro %}

{% macro postgres__seconds_between(earlier, later) -%}
    cast(extract(epoch from ({{ later }} - {{ earlier }})) as double precision)
{%- endmacro %}

{% macro spark__seconds_between(earlier, later) -%}
    ((unix_micros({{ later }}) - unix_micros({{ earlier }})) / 1e6)
{%- endmacro %}

{% macro snowflake__seconds_between(earlier, later) -%}
    (cast(datediff(microsecond, {{ earlier }}, {{ later }}) as double) / 1e6)
{%- endmacro %}

{% macro bigquery__seconds_between(earlier, later) -%}
    (timestamp_diff({{ later }}, {{ earlier }}, microsecond) / 1e6)
{%- endmacro %}

{% macro redshift__seconds_between(earlier, later) -%}
    (cast(datediff(microsecond, {{ earlier }}, {{ later }}) as double precision) / 1e6)
{%- endmacro %}
