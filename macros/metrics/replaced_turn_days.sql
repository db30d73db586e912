{#- `replaced_days` of a model that keeps something made from turns, by `turn_date`: everything is replaced when the
    traces, the outcomes, the rules for signals, the slices or what else it is `made_with` are other ones. -#}
{% macro replaced_turn_days(made_with=none) -%}
{%- set settings = evalhouse.settings() -%}
{%- set definition_hash = local_md5(tojson([
    evalhouse.input_definition('traces', evalhouse.kept_trace_columns()),
    evalhouse.input_definition('outcomes', ['session_id', 'trace_id', 'actor', 'value']),
    settings.signals, evalhouse.turn_slices(), evalhouse.turn_bases(), evalhouse.turn_rates(), made_with
], sort_keys=true)) -%}
turn_days as (
    select * from {{ ref('evalhouse', 'int_turn_days') }}
),

definition as (
    select '{{ definition_hash }}' as definition_hash
),

day_states as (
    select
        turn_date as state_date,
        day_state
    from turn_days
),

newest as (
    select min(read_until) as read_until
    from turn_days
),

{{ evalhouse.replaced_days('turn_date', settings.analysis.lookback_days + evalhouse.watched_days()) }}
{%- endmacro %}
