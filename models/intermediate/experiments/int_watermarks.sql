{%- set plan = evalhouse.metric_plan() -%}
{%- set lookback_days = evalhouse.settings().analysis.lookback_days -%}
{%- set inputs = ['outcomes', 'traces'] | select('in', evalhouse.settings().inputs) | list -%}

with exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
),

sources as (
    select
        'exposures' as source_name,
        max(last_exposed_at) as newest_at,
        cast(null as {{ evalhouse.type_double() }}) as load_lag_seconds
    from exposed_units
    {%- for fact in (inputs + plan.facts) | unique %}
    {%- set spec = evalhouse.fact_spec('traces' if fact in ['turns', 'sessions'] else fact) %}

    union all

    select
        '{{ fact }}' as source_name,
        max({{ spec.time }}) as newest_at,
        {%- if spec.loaded_at %}
        {#- Only recent rows: a backfill of old ones says nothing about how late new ones are. #}
        (
            select {{ evalhouse.percentile_cont(evalhouse.seconds_between(spec.time, spec.loaded_at), 0.99) }}
            from {{ spec.relation }}
            where {{ spec.time }} >= (
                select {{ evalhouse.time_added('day', -7, 'max(' ~ spec.time ~ ')') }}
                from {{ spec.relation }}
            )
        ) as load_lag_seconds
        {%- else %}
        cast(null as {{ evalhouse.type_double() }}) as load_lag_seconds
        {%- endif %}
    from {{ spec.relation }}
    {%- if evalhouse.settings().analysis.as_of %}
    where {{ spec.time }} <= {{ evalhouse.as_of_literal() }}
    {%- endif %}
    {%- endfor %}
),

lagged as (
    select
        source_name,
        newest_at,
        cast(
            round(least(greatest(coalesce(load_lag_seconds, 0), 0), {{ lookback_days * 86400 }}))
            as {{ dbt.type_bigint() }}
        ) as load_lag_seconds,
        coalesce({{ evalhouse.as_of_literal() }}, max(newest_at) over ()) as as_of_at
    from sources
),

watermarks as (
    select
        *,
        -- Rows within the usual load lag of the newest row may still be on their way; none is waited for beyond the
        -- lookback.
        {{ evalhouse.time_added('second', '-load_lag_seconds', 'newest_at') }} as watermark_at
    from lagged
)

select
    source_name,
    newest_at,
    load_lag_seconds,
    watermark_at,
    as_of_at,
    -- A source that trails the newest by no more than a day is quiet, not dead: where nothing has to ripen, its rows
    -- are complete up to now. Beyond a day, only what it has delivered counts.
    case
        when newest_at >= {{ evalhouse.time_added('day', -1, 'as_of_at') }} then as_of_at
        else newest_at
    end as complete_until
from watermarks
