{%- set plan = evalhouse.metric_plan() -%}
{%- set lookback_days = evalhouse.settings().analysis.lookback_days -%}
{%- set string = dbt.type_string() -%}
{%- set bigint = dbt.type_bigint() -%}
{%- set epoch = "cast('2000-01-01' as " ~ dbt.type_timestamp() ~ ')' -%}
{%- set inputs = ['outcomes', 'traces'] | select('in', evalhouse.settings().inputs) | list -%}

with exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
),

sources as (
    select
        'exposures' as source_name,
        sum(exposure_rows) as rows_read,
        max(last_exposed_at) as newest_at,
        cast(null as {{ dbt.type_timestamp() }}) as newest_loaded_at,
        cast(null as {{ evalhouse.type_double() }}) as load_lag_seconds
    from exposed_units
    {%- for fact in (inputs + plan.facts) | unique %}
    {%- set spec = evalhouse.fact_spec('traces' if fact in ['turns', 'sessions'] else fact) %}

    union all

    select
        '{{ fact }}' as source_name,
        count(*) as rows_read,
        max({{ spec.time }}) as newest_at,
        {{ 'max(' ~ spec.loaded_at ~ ')' if spec.loaded_at else 'cast(null as ' ~ dbt.type_timestamp() ~ ')' }}
            as newest_loaded_at,
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

-- In numbers, because engines write times differently.
source_states as (
    select
        source_name,
        source_name
        || ' ' || cast(cast(coalesce(rows_read, 0) as {{ bigint }}) as {{ string }})
        {%- for time in ['newest_at', 'newest_loaded_at'] %}
        || ' ' || coalesce(
            cast(cast(round(1e6 * {{ evalhouse.seconds_between(epoch, time) }}) as {{ bigint }}) as {{ string }}), ''
        )
        {%- endfor %} as source_state
    from sources
),

-- What the data were, and what was to be made of them.
states as (
    select
        {{ dbt.hash(
            "'" ~ local_md5(tojson(evalhouse.settings(), sort_keys=true)) ~ " ' || "
            ~ evalhouse.sorted_listagg('source_state', "' '")
        ) }} as data_state
    from source_states
),

lagged as (
    select
        source_name,
        cast(coalesce(rows_read, 0) as {{ bigint }}) as rows_read,
        newest_at,
        newest_loaded_at,
        cast(
            round(least(greatest(coalesce(load_lag_seconds, 0), 0), {{ lookback_days * 86400 }}))
            as {{ bigint }}
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
    watermarks.source_name,
    watermarks.rows_read,
    watermarks.newest_at,
    watermarks.newest_loaded_at,
    watermarks.load_lag_seconds,
    watermarks.watermark_at,
    watermarks.as_of_at,
    -- A source that trails the newest by no more than a day is quiet, not dead: where nothing has to ripen, its rows
    -- are complete up to now. Beyond a day, only what it has delivered counts.
    case
        when watermarks.newest_at >= {{ evalhouse.time_added('day', -1, 'watermarks.as_of_at') }}
            then watermarks.as_of_at
        else watermarks.newest_at
    end as complete_until,
    states.data_state
from watermarks
cross join states
