{#-
    CTEs of an incremental model with one row or more per experiment and day: `experiments` says from which day on
    (`rebuilt_from`) what is stored has to be replaced. They read what the model itself has stored, so that a run that
    was interrupted, or models that stand at different days, cannot mislead it.

    An incremental run replaces the days from the lookback on, counted from where each source stood when it was last
    read: one that stood still and comes back brings its days with it. An experiment is replaced as a whole when
    `definition` or what the registry says about who was exposed has changed. Rows with an empty `marker` stand for a
    stored day that had to go, and say nothing about the data.
-#}
{% macro rebuilt_experiments(definition, sources, date_column, marker) -%}
{%- set lookback_days = evalhouse.settings().analysis.lookback_days -%}
{%- set forever_ago = "cast('0001-01-01' as date)" -%}
{%- set stored_columns = adapter.get_columns_in_relation(this) | map(attribute='name') | map('lower') | list
    if is_incremental() else [] -%}
all_experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

variations as (
    select * from {{ ref('evalhouse', 'int_experiment_variations') }}
    where is_registered
),

phases as (
    select distinct
        experiment_id,
        phase_started_at
    from {{ ref('evalhouse', 'stg_experiment_phases') }}
    where rejected_by is null
),

watermarks as (
    select * from {{ ref('evalhouse', 'int_watermarks') }}
),

sources_read as (
    select
        {%- for source in sources %}
        max(case when source_name = '{{ source }}' then newest_at end) as {{ source }}_read_until
        {{- ',' if not loop.last }}
        {%- endfor %}
    from watermarks
),

registered_variations as (
    select
        experiment_id,
        {{ evalhouse.sorted_listagg('variation_id', "','") }} as variation_ids
    from variations
    group by experiment_id
),

registered_phases as (
    select
        experiment_id,
        {{ evalhouse.sorted_listagg('cast(phase_started_at as ' ~ dbt.type_string() ~ ')', "','") }} as phase_starts
    from phases
    group by experiment_id
),

defined as (
    select
        all_experiments.experiment_id,
        all_experiments.horizon_at,
        all_experiments.as_of_at,
        all_experiments.is_clustered,
        {{ dbt.hash(
            "'" ~ local_md5(tojson([definition, lookback_days], sort_keys=true)) ~ " ' || all_experiments.stage"
            ~ " || ' ' || coalesce(cast(all_experiments.started_at as " ~ dbt.type_string() ~ "), '')"
            ~ " || ' ' || coalesce(cast(all_experiments.ended_at as " ~ dbt.type_string() ~ "), '')"
            ~ " || ' ' || coalesce(registered_variations.variation_ids, '')"
            ~ " || ' ' || coalesce(registered_phases.phase_starts, '')"
        ) }} as definition_hash
    from all_experiments
    left join registered_variations on all_experiments.experiment_id = registered_variations.experiment_id
    left join registered_phases on all_experiments.experiment_id = registered_phases.experiment_id
),

{% if is_incremental() -%}
stored as (
    select
        experiment_id,
        min(definition_hash) as first_hash,
        max(definition_hash) as last_hash
    from {{ this }}
    group by experiment_id
),

newest_stored as (
    -- Marks may be of days that the data have not reached again.
    select
        max({{ date_column }}) as stored_date
        {%- for source in sources %},
        {%- set column = source ~ '_read_until' %}
        {{ 'max(' ~ column ~ ')' if column | lower in stored_columns
            else 'cast(null as ' ~ dbt.type_timestamp() ~ ')' }} as {{ column }}
        {%- endfor %}
    from {{ this }}
    where {{ marker }} <> ''
),

-- The day from which there is something new: of a source without new rows there is none.
news as (
    select
        newest_stored.stored_date
        {%- for source in sources %},
        case
            when sources_read.{{ source }}_read_until is null
                or sources_read.{{ source }}_read_until <= newest_stored.{{ source }}_read_until
                then newest_stored.stored_date
            else coalesce(cast(newest_stored.{{ source }}_read_until as date), {{ forever_ago }})
        end as {{ source }}_new_from
        {%- endfor %}
    from newest_stored
    cross join sources_read
),

oldest_news as (
    select
        least(
            stored_date
            {%- for source in sources %},
            {{ source }}_new_from
            {%- endfor %}
        ) as new_from
    from news
),

experiments as {{ evalhouse.materialized() }} (
    select
        defined.*,
        case
            when stored.first_hash <> defined.definition_hash or stored.last_hash <> defined.definition_hash
                or stored.experiment_id is null or oldest_news.new_from is null
                or oldest_news.new_from = {{ forever_ago }}
                then {{ forever_ago }}
            when oldest_news.new_from > cast(defined.as_of_at as date)
                then cast({{ evalhouse.time_added('day', -lookback_days, 'cast(defined.as_of_at as date)') }} as date)
            else cast({{ evalhouse.time_added('day', -lookback_days, 'oldest_news.new_from') }} as date)
        end as rebuilt_from
    from defined
    cross join oldest_news
    left join stored on defined.experiment_id = stored.experiment_id
),
{%- else -%}
experiments as {{ evalhouse.materialized() }} (
    select
        *,
        {{ forever_ago }} as rebuilt_from
    from defined
),
{%- endif %}
{%- endmacro %}

{#- The stored days that the run replaces, as columns experiment_id, `date_column` and definition_hash: a day that lost
    all of its rows has none in the batch, and would stay. -#}
{% macro replaced_days(date_column) -%}
select distinct
    stored_days.experiment_id,
    stored_days.{{ date_column }},
    coalesce(experiments.definition_hash, '') as definition_hash
from {{ this }} as stored_days
left join experiments on stored_days.experiment_id = experiments.experiment_id
where stored_days.{{ date_column }} >= experiments.rebuilt_from or experiments.experiment_id is null
{%- endmacro %}
