{#-
    The rows that scripts/drift.py compares: of every monitor and day whole groups of units, in the order of their
    md5, until there are enough. Which units are drawn depends on their names alone, so it is the same units every day.
    A row without a unit is one of its own. A view: nothing is computed until the script asks for a few days.
-#}
{{ config(materialized='view') }}
{%- set monitors = evalhouse.settings().drift_monitors | selectattr('features') | list %}
{%- set rows_per_day = 2000 %}
{%- set rows_per_reference = 20000 %}
{%- set text = dbt.type_string() %}
{%- set no_embedding = evalhouse.to_double_array('null', 'text') %}

with
{%- for monitor in monitors %}
{%- set is_block = monitor.reference.kind in ['fixed', 'training'] %}
{%- set values = {} %}
{%- for feature in monitor.features %}
{%- set as_text = 'cast(' ~ feature.value ~ ' as ' ~ text ~ ')' %}
{%- if feature.kind == 'embedding' %}
{#- Arrays, and text of an array in any engine's own brackets. -#}
{%- do values.update({'feature_' ~ loop.index: "replace(replace(" ~ as_text ~ ", '{', '['), '}', ']')"}) %}
{%- elif feature.kind == 'text' %}
{%- do values.update({'feature_' ~ loop.index: "nullif(trim(" ~ as_text ~ "), '')"}) %}
{%- else %}
{%- do values.update({'feature_' ~ loop.index: evalhouse.drift_value(feature)}) %}
{%- endif %}
{%- endfor %}
{%- set names = values | list %}
{%- set row_text = ['cast(row_date as ' ~ text ~ ')'] %}
{%- for name in names %}
{%- do row_text.append('coalesce(cast(' ~ name ~ ' as ' ~ text ~ "), '~')") %}
{%- endfor %}
{%- if monitor.reference.kind == 'fixed' %}
{%- do values.update({'period_date': 'cast(' ~ evalhouse.drift_relation(monitor).time ~ ' as date)'}) %}
{%- endif %}

monitor_{{ monitor.name }}_rows as (
    {{ evalhouse.drift_rows(monitor, values) }}
),

monitor_{{ monitor.name }}_named as (
    select
        *,
        case
            when unit_id is null
                then {{ dbt.hash(row_text | join(" || '|' || ")) }}
        end as row_hash
    from monitor_{{ monitor.name }}_rows
),

-- Equal rows are numbered: they are several units, and which is which does not matter.
monitor_{{ monitor.name }}_units as (
    select
        row_date,
        {{ 'period_date' if monitor.reference.kind == 'fixed' else 'row_date as period_date' }},
        {{ names | join(', ') }},
        coalesce(
            unit_id,
            'row ' || row_hash || ' ' || cast(
                row_number() over (partition by row_date, row_hash order by row_hash) as {{ text }}
            )
        ) as unit_id
    from monitor_{{ monitor.name }}_named
),

monitor_{{ monitor.name }}_groups as (
    select
        *,
        substr({{ dbt.hash('unit_id') }}, 1, 3) as unit_group,
        {%- if is_block %}
        case
            when row_date = {{ evalhouse.reference_date(monitor) }} then {{ rows_per_reference }}
            else {{ rows_per_day }}
        end as rows_wanted
        {%- else %}
        {{ rows_per_day }} as rows_wanted
        {%- endif %}
    from monitor_{{ monitor.name }}_units
),

monitor_{{ monitor.name }}_counted as (
    select
        *,
        rank() over (partition by row_date order by unit_group) - 1 as rows_before
    from monitor_{{ monitor.name }}_groups
),

monitor_{{ monitor.name }}_taken as (
    select
        *,
        max(rows_before) over (partition by row_date) < rows_wanted as is_complete
    from monitor_{{ monitor.name }}_counted
),

monitor_{{ monitor.name }}_features as (
    {%- for feature in monitor.features %}
    select
        {{ loop.index }} as feature_number,
        '{{ feature.name }}' as feature_name,
        '{{ feature.kind }}' as feature_kind
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

monitor_{{ monitor.name }}_samples as (
    select
        taken.row_date,
        taken.period_date,
        taken.unit_group,
        taken.unit_id,
        features.feature_name,
        features.feature_kind,
        case
            {%- for feature in monitor.features if feature.kind in ['numeric', 'text_length'] %}
            {%- set number = monitor.features.index(feature) + 1 %}
            when features.feature_number = {{ number }} then taken.feature_{{ number }}
            {%- endfor %}
            when 1 = 0 then cast(null as {{ evalhouse.type_double() }})
        end as number_value,
        case
            {%- for feature in monitor.features if feature.kind in ['categorical', 'text'] %}
            {%- set number = monitor.features.index(feature) + 1 %}
            when features.feature_number = {{ number }} then taken.feature_{{ number }}
            {%- endfor %}
            when 1 = 0 then cast(null as {{ text }})
        end as category,
        case
            {%- for feature in monitor.features if feature.kind == 'embedding' %}
            {%- set number = monitor.features.index(feature) + 1 %}
            when features.feature_number = {{ number }}
                then {{ evalhouse.to_double_array('taken.feature_' ~ number, 'text') }}
            {%- endfor %}
            when 1 = 0 then {{ no_embedding }}
        end as embedding,
        taken.is_complete
    from monitor_{{ monitor.name }}_taken as taken
    cross join monitor_{{ monitor.name }}_features as features
    where taken.rows_before < taken.rows_wanted
),
{%- endfor %}

samples as (
    {%- for monitor in monitors %}
    select
        '{{ monitor.name }}' as monitor_name,
        monitor_{{ monitor.name }}_samples.*
    from monitor_{{ monitor.name }}_samples
    {{ 'union all' if not loop.last }}
    {%- else %}
    select
        cast(null as {{ text }}) as monitor_name,
        cast(null as date) as row_date,
        cast(null as date) as period_date,
        cast(null as {{ text }}) as unit_group,
        cast(null as {{ text }}) as unit_id,
        cast(null as {{ text }}) as feature_name,
        cast(null as {{ text }}) as feature_kind,
        cast(null as {{ evalhouse.type_double() }}) as number_value,
        cast(null as {{ text }}) as category,
        {{ no_embedding }} as embedding,
        false as is_complete
    from (select 1 as nothing) as no_row
    where 1 = 0
    {%- endfor %}
)

select * from samples
where number_value is not null or category is not null or embedding is not null
