{#-
    CTEs of an incremental model that keeps rows by day: `reach` says from which day on (`replaced_from`) what is stored
    has to be replaced; `marked_days` are rows to keep beside the others, the only ones with a definition_hash, which
    say what the days were made from.

    Expects the CTEs `definition` (definition_hash: one row) and `day_states` (state_date, day_state: what there is of
    each day now, as a text). Replaced are the days from the first one on whose state is another than the model's own
    mark says, `days_back` days before it, and everything when the definition is another one. A state is what the
    marks of the models before say, so that a run that was cut short or left one of them out is made up for.
-#}
{% macro replaced_days(day, days_back=0) -%}
{%- set forever_ago = "cast('0001-01-01' as date)" -%}
{%- if is_incremental() -%}
stored_marks as (
    select
        {{ day }} as stored_date,
        definition_hash,
        day_state
    from {{ this }}
    where definition_hash is not null
),

stored_definition as (
    select
        min(definition_hash) as first_hash,
        max(definition_hash) as last_hash
    from stored_marks
),

changes as (
    select day_states.state_date as changed_date
    from day_states
    left join stored_marks on day_states.state_date = stored_marks.stored_date
    where stored_marks.day_state is null or stored_marks.day_state <> day_states.day_state

    union all

    select stored_marks.stored_date as changed_date
    from stored_marks
    left join day_states on stored_marks.stored_date = day_states.state_date
    where stored_marks.day_state is not null and day_states.state_date is null
),

first_change as (
    select min(changed_date) as changed_from
    from changes
),

reach as {{ evalhouse.materialized() }} (
    select
        case
            when stored_definition.first_hash is null
                or stored_definition.first_hash <> definition.definition_hash
                or stored_definition.last_hash <> definition.definition_hash
                then {{ forever_ago }}
            when first_change.changed_from is null then {{ evalhouse.current_look() }}
            else cast({{ evalhouse.time_added('day', -days_back, 'first_change.changed_from') }} as date)
        end as replaced_from
    from definition
    cross join stored_definition
    cross join first_change
),
{%- else -%}
reach as (
    select {{ forever_ago }} as replaced_from
),
{%- endif %}

marked_days as (
    select
        day_states.state_date as {{ day }},
        definition.definition_hash,
        day_states.day_state
    from day_states
    cross join definition
    where day_states.state_date >= (select replaced_from from reach)
    {%- if is_incremental() %}

    union all

    -- A day that lost all of its rows has none in the batch, and would stay.
    select distinct
        stored_days.{{ day }},
        definition.definition_hash,
        cast(null as {{ dbt.type_string() }}) as day_state
    from {{ this }} as stored_days
    cross join definition
    left join day_states on stored_days.{{ day }} = day_states.state_date
    where
        stored_days.{{ day }} >= (select replaced_from from reach)
        and day_states.state_date is null
    {%- endif %}
)
{%- endmacro %}
