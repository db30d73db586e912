{#- From when to when each monitor has rows. -#}
{%- set monitors = evalhouse.settings().drift_monitors %}

with
{%- for monitor in monitors %}
{%- set without_reference = dict(monitor, reference={'kind': 'trailing'}) %}

monitor_{{ monitor.name }}_rows as (
    {{ evalhouse.drift_rows(without_reference, {'row_at': evalhouse.drift_relation(monitor).time}) }}
),
{%- endfor %}

spans as (
    {%- for monitor in monitors %}
    select
        '{{ monitor.name }}' as monitor_name,
        min(row_date) as first_date,
        max(row_at) as newest_at
    from monitor_{{ monitor.name }}_rows
    {{ 'union all' if not loop.last }}
    {%- else %}
    select
        cast(null as {{ dbt.type_string() }}) as monitor_name,
        cast(null as date) as first_date,
        cast(null as {{ dbt.type_timestamp() }}) as newest_at
    {%- endfor %}
)

select
    monitor_name,
    first_date,
    newest_at,
    -- The day of the newest row is not over, unless as_of says that no more will come.
    cast(coalesce({{ evalhouse.as_of_literal() }}, newest_at) as date) as complete_until
from spans
where first_date is not null
