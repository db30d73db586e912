-- Warns while some marts are older than others, as after a run that stopped half way or that built only some of them:
-- each is right by itself, but they are not to be read together.
{{ config(severity='warn') }}
{%- set marts = {
    'dim_experiments': true, 'guardrail_checks': true, 'due_actions': true,
    'experiment_results': false, 'experiment_subgroups': false, 'experiment_tradeoffs': false
} %}

with states as (
    {%- for mart, has_state in marts.items() %}
    select distinct
        '{{ mart }}' as mart_name,
        as_of_at,
        {{ 'data_state' if has_state else 'cast(null as ' ~ dbt.type_string() ~ ')' }} as data_state
    from {{ ref('evalhouse', mart) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

newest as (
    select
        as_of_at,
        data_state
    from {{ ref('evalhouse', 'int_experiments') }}
    group by as_of_at, data_state
)

select
    states.mart_name,
    states.as_of_at,
    newest.as_of_at as newest_as_of_at
from states
cross join newest
where
    states.as_of_at is not null
    and (states.as_of_at <> newest.as_of_at or states.data_state <> newest.data_state)
