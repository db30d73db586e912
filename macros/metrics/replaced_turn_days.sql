{#- `replaced_days` of a model that keeps something of turns by `turn_date` and makes it from the kept `parent`, whose
    day is `parent_day`: everything is replaced when what turns are made with is another, or what the model itself is
    `made_with` besides. -#}
{% macro replaced_turn_days(parent, parent_day='turn_date', made_with=none) -%}
{%- set definition_hash = local_md5(tojson([
    evalhouse.turns_definition(), evalhouse.turn_slices(), evalhouse.turn_bases(), evalhouse.turn_rates(), made_with
], sort_keys=true)) -%}
day_states as (
    select
        {{ parent_day }} as state_date,
        definition_hash as parent_definition,
        day_state
    from {{ ref('evalhouse', parent) }}
    where definition_hash is not null and day_state is not null
),

definition as (
    select {{ dbt.hash(
        "'" ~ definition_hash ~ " ' || coalesce(max(parent_definition), '')"
    ) }} as definition_hash
    from day_states
),

{{ evalhouse.replaced_days('turn_date', evalhouse.watched_days()) }}
{%- endmacro %}

{#- What turns are made with: both logs and the rules for signals. -#}
{% macro turns_definition() -%}
    {{ return([
        evalhouse.input_definition('traces', evalhouse.kept_trace_columns()),
        evalhouse.input_definition('outcomes', ['session_id', 'trace_id', 'actor', 'value', 'loaded_at']),
        evalhouse.settings().signals
    ]) }}
{%- endmacro %}
