{#- What the turns of each day come to now, for models that keep something by day to see which days are other ones.
    Counts notice turns that ripen, come or go, at any age; what is corrected without changing a count can only be
    within the lookback of traces or outcomes, and change the turns before it for as long as these are watched. -#}
{%- set counts = ['turns_without_latency'] -%}
{%- for base in evalhouse.bases_of_rules(evalhouse.turn_rates()) -%}
    {%- do counts.extend([base.name ~ '__turns', base.name ~ '__awaited']) -%}
{%- endfor -%}
{%- for rate in evalhouse.turn_rates() -%}
    {%- do counts.append(rate.name ~ '__turns') -%}
{%- endfor -%}
{%- set counts_as_text = [] -%}
{%- for count in counts -%}
    {%- do counts_as_text.append('cast(' ~ count ~ ' as ' ~ dbt.type_string() ~ ')') -%}
{%- endfor %}

with sums as (
    select * from {{ ref('evalhouse', 'int_turn_sums') }}
    where dimension_name = 'all'
),

pairs as (
    select * from {{ ref('evalhouse', 'int_turn_pairs') }}
    where trace_id = ''
),

days as (
    select
        turn_date,
        {{ evalhouse.sorted_listagg("model_version || ' ' || " ~ counts_as_text | join(" || ' ' || "), "','") }} as counted
    from sums
    group by turn_date
),

newest as (
    select {{ evalhouse.turns_read_until('max(turn_date)') | indent(4) }} as read_until
    from days
),

compared_by as (
    select max(definition_hash) as definition_hash from pairs
)

select
    days.turn_date,
    {{ dbt.hash("days.counted || ' ' || coalesce(compared_by.definition_hash, '')") }} as day_state,
    newest.read_until
from days
cross join newest
cross join compared_by
