{#-
    CTEs of an incremental model with one row or more per experiment and day: `experiments` says from which day on
    (`rebuilt_from`) what is stored has to be replaced, and `day_states` what the sources had of each day.

    A run replaces the days from the first one on of which the model has read something else than int_source_days has
    now. It goes by rows of its own with an empty `marker`, one per experiment and day, so that a run that was
    interrupted, or models that stand at different days, cannot mislead it. An experiment is replaced as a whole when
    `definition` or what the registry says about who was exposed has changed.
-#}
{% macro rebuilt_experiments(definition, sources, date_column, marker) -%}
{%- set forever_ago = "cast('0001-01-01' as date)" -%}
{%- set never = "cast('9999-12-31' as date)" -%}
{%- set has_states = is_incremental() and 'day_state' in (
    adapter.get_columns_in_relation(this) | map(attribute='name') | map('lower') | list
) -%}
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

source_days as (
    select * from {{ ref('evalhouse', 'int_source_days') }}
    where
        source_name in ('{{ sources | join("', '") }}')
        -- A day on which units only left has no rows of its own.
        and (rows_read > 0 or content is not null)
),

day_states as (
    select
        activity_date,
        {{ dbt.hash(evalhouse.sorted_listagg(
            "source_name || ' ' || cast(rows_read as " ~ dbt.type_string() ~ ") || ' ' || coalesce(content, '')", "','"
        )) }} as day_state
    from source_days
    group by activity_date
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
        all_experiments.experiment_number,
        all_experiments.horizon_at,
        all_experiments.as_of_at,
        all_experiments.is_clustered,
        {{ dbt.hash(
            "'" ~ local_md5(tojson([definition, evalhouse.settings().analysis.lookback_days], sort_keys=true))
            ~ " ' || all_experiments.stage"
            ~ " || case when all_experiments.is_clustered then ' clustered' else '' end"
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
stored_marks as (
    select
        experiment_id,
        {{ date_column }} as stored_date,
        definition_hash,
        {{ 'day_state' if has_states else 'cast(null as ' ~ dbt.type_string() ~ ') as day_state' }}
    from {{ this }}
    where {{ marker }} = ''
),

stored_definitions as (
    select
        experiment_id,
        min(definition_hash) as first_hash,
        max(definition_hash) as last_hash
    from stored_marks
    where day_state is not null
    group by experiment_id
),

changes as (
    select
        defined.experiment_id,
        day_states.activity_date as changed_date
    from defined
    cross join day_states
    left join stored_marks
        on defined.experiment_id = stored_marks.experiment_id
        and day_states.activity_date = stored_marks.stored_date
    where stored_marks.day_state is null or stored_marks.day_state <> day_states.day_state

    union all

    select
        stored_marks.experiment_id,
        stored_marks.stored_date as changed_date
    from stored_marks
    left join day_states on stored_marks.stored_date = day_states.activity_date
    where stored_marks.day_state is not null and day_states.activity_date is null
),

first_changes as (
    select
        experiment_id,
        min(changed_date) as changed_from
    from changes
    group by experiment_id
),

experiments as {{ evalhouse.materialized() }} (
    select
        defined.*,
        case
            when stored_definitions.first_hash = defined.definition_hash
                and stored_definitions.last_hash = defined.definition_hash
                then coalesce(first_changes.changed_from, {{ never }})
            else {{ forever_ago }}
        end as rebuilt_from
    from defined
    left join stored_definitions on defined.experiment_id = stored_definitions.experiment_id
    left join first_changes on defined.experiment_id = first_changes.experiment_id
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

{#- Select of the rows to keep with an empty marker (experiment_id, `date_column`, definition_hash, day_state): the days
    that the run has read, and those that it replaces without having read any row. A day that lost all of its rows has
    none in the batch, and would stay. -#}
{% macro marked_days(date_column) -%}
select
    experiments.experiment_id,
    day_states.activity_date as {{ date_column }},
    experiments.definition_hash,
    day_states.day_state
from experiments
cross join day_states
where day_states.activity_date >= experiments.rebuilt_from
{%- if is_incremental() %}

union all

select distinct
    stored_days.experiment_id,
    stored_days.{{ date_column }},
    cast(null as {{ dbt.type_string() }}) as definition_hash,
    cast(null as {{ dbt.type_string() }}) as day_state
from {{ this }} as stored_days
left join experiments on stored_days.experiment_id = experiments.experiment_id
left join day_states on stored_days.{{ date_column }} = day_states.activity_date
where
    experiments.experiment_id is null
    or (stored_days.{{ date_column }} >= experiments.rebuilt_from and day_states.activity_date is null)
{%- endif %}
{%- endmacro %}

{#- What int_unit_baselines and int_unit_days are made of, as their definition: of both, because a unit that enters when
    all is read again must have its days, and one whose days are stored must have entered. -#}
{% macro unit_definition() -%}
    {%- set plan = evalhouse.metric_plan() -%}
    {%- set settings = evalhouse.settings() -%}
    {%- set definition = [
        plan.measures, plan.totals, evalhouse.exposure_dimensions(), settings.facts, settings.raw_schema,
        settings.source_tables
    ] -%}
    {%- if plan.facts | select('in', ['turns', 'sessions']) | list -%}
        {%- do definition.append(evalhouse.turns_definition()) -%}
    {%- endif -%}
    {{ return(definition) }}
{%- endmacro %}
