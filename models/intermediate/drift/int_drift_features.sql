{#- The features of all monitors, with the number by which the models before the marts know them. -#}
{%- set monitors = evalhouse.settings().drift_monitors | selectattr('features') | list %}

-- depends_on: {{ ref('evalhouse', 'run_gate') }}
{%- for monitor in monitors %}
{%- set last_monitor = loop.last %}
{%- for feature in monitor.features %}
select
    {{ feature.number }} as feature_number,
    '{{ monitor.name }}' as monitor_name,
    '{{ feature.name }}' as feature_name,
    '{{ feature.kind }}' as feature_kind,
    '{{ feature.role }}' as feature_role
{{ 'union all' if not (last_monitor and loop.last) }}
{%- endfor %}
{%- else %}
select
    0 as feature_number,
    cast(null as {{ dbt.type_string() }}) as monitor_name,
    cast(null as {{ dbt.type_string() }}) as feature_name,
    cast(null as {{ dbt.type_string() }}) as feature_kind,
    cast(null as {{ dbt.type_string() }}) as feature_role
from (select 1 as nothing) as no_row
where 1 = 0
{%- endfor %}
