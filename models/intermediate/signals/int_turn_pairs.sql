{#- Two turns of a session in a row: how alike their texts are, and what the user did by the second. Only turns of which
    a text or a hash is known are looked at. Kept by the day of the second, since that is when a pair comes to be:
    what was said on old days is not compared again. -#}
{{ config(
    materialized='incremental',
    on_schema_change='append_new_columns',
    sql_header=evalhouse.one_writer('int_turn_pairs'),
    **evalhouse.incremental_by(['next_started_on'])
) }}
{%- set double = evalhouse.type_double() -%}
{%- set own_weights = evalhouse.settings().signals.rephrase_weights -%}
{%- set weight_names = ['intercept'] + evalhouse.rephrase_feature_names()
    + ['embedding_cosine', 'embedding_centre', 'threshold'] -%}
{%- set weight_texts = [] -%}
{%- for name in weight_names -%}
    {%- do weight_texts.append(
        " || ' ' || coalesce(cast(" ~ name ~ ' as ' ~ dbt.type_string() ~ "), '')"
    ) -%}
{%- endfor -%}
{%- set of_next = 'over (partition by session_id order by turn_number, trace_id)' -%}
{%- set definition_hash = local_md5(tojson([
    evalhouse.input_definition('traces', evalhouse.kept_trace_columns()),
    evalhouse.settings().signals.session_gap_minutes
], sort_keys=true)) %}

with session_turns as (
    select * from {{ ref('evalhouse', 'int_session_turns') }}
    where trace_id <> ''
),

session_days as (
    select * from {{ ref('evalhouse', 'int_session_turns') }}
    where definition_hash is not null and day_state is not null
),

traces as (
    select * from {{ ref('evalhouse', 'int_traces') }}
    where trace_id <> ''
),

default_weights as (
    select * from {{ ref('evalhouse', 'rephrase_weights') }}
),

{%- if own_weights %}

own_weights as (
    select * from {{ own_weights }}
),
{%- endif %}

weight_rows as (
    select
        name,
        value,
        0 as is_own
    from default_weights
    {%- if own_weights %}
    union all
    select
        cast(name as {{ dbt.type_string() }}) as name,
        cast(value as {{ double }}) as value,
        1 as is_own
    from own_weights
    where value between -1e6 and 1e6
    {%- endif %}
),

weights as {{ evalhouse.materialized() }} (
    select
        {%- for name in weight_names %}
        coalesce(
            max(case when name = '{{ name }}' and is_own = 1 then value end),
            max(case when name = '{{ name }}' and is_own = 0 then value end)
        ) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from weight_rows
),

definition as (
    select
        {{ dbt.hash(
            "'" ~ definition_hash ~ "'" ~ weight_texts | join
        ) }} as definition_hash
    from weights
),

-- Not how often turns were written again: what traces they were made from.
day_states as (
    select
        started_on as state_date,
        day_state
    from session_days
),

{{ evalhouse.replaced_days('next_started_on') }},

-- The two turns of every pair that comes to be on a replaced day.
turns as (
    select * from session_turns
    {%- if is_incremental() %}
    where
        started_on >= (select replaced_from from reach)
        or next_started_at >= (select cast(replaced_from as {{ dbt.type_timestamp() }}) from reach)
        or trace_id in (
            select resumes_trace_id from session_turns
            where resumes_trace_id is not null and started_on >= (select replaced_from from reach)
        )
    {%- endif %}
),

texts as (
    select
        turns.trace_id,
        turns.session_id,
        turns.turn_number,
        turns.started_at,
        traces.input_hash,
        traces.input_embedding,
        traces.input_text as text
    from turns
    inner join traces on turns.trace_id = traces.trace_id
    where
        (traces.input_text is not null or traces.input_hash is not null)
        {%- if is_incremental() %}
        -- For an engine to skip the days before the first of them.
        and traces.started_at >= (select min(started_at) from turns)
        {%- endif %}
),

{{ evalhouse.rephrase_words('texts', [
    'trace_id', 'session_id', 'turn_number', 'started_at', 'input_hash', 'input_embedding'
]) }},

followed as (
    select
        trace_id,
        turn_number,
        input_hash,
        input_embedding,
        text_key,
        rest_hash,
        words,
        content,
        lead(turn_number) {{ of_next }} as next_turn_number,
        lead(trace_id) {{ of_next }} as next_trace_id,
        lead(started_at) {{ of_next }} as next_started_at,
        lead(input_hash) {{ of_next }} as next_input_hash,
        lead(input_embedding) {{ of_next }} as next_input_embedding,
        lead(text_key) {{ of_next }} as next_text_key,
        lead(rest_hash) {{ of_next }} as next_rest_hash,
        lead(words_in_order) {{ of_next }} as next_words_in_order,
        lead(words) {{ of_next }} as next_words,
        lead(content) {{ of_next }} as next_content
    from text_words
),

pairs as {{ evalhouse.materialized() }} (
    select * from followed
    where
        next_turn_number = turn_number + 1
        {%- if is_incremental() %}
        and next_started_at >= (select cast(replaced_from as {{ dbt.type_timestamp() }}) from reach)
        {%- endif %}
),

{{ evalhouse.rephrase_features('pairs', [
    'trace_id', 'next_trace_id', 'next_started_at', 'input_hash', 'next_input_hash', 'input_embedding',
    'next_input_embedding', 'text_key', 'next_text_key', 'rest_hash', 'next_rest_hash', 'next_words_in_order'
]) }},

compared as (
    select
        *,
        case
            when text_key is not null and next_text_key is not null
                then text_key = next_text_key and rest_hash = next_rest_hash
            else input_hash = next_input_hash
        end as is_next_equal,
        -- Few are short enough to be one.
        case
            when length(next_words_in_order) <= 60
                then
                    next_words_in_order <> ' '
                    and {{ evalhouse.without_acknowledgements('next_words_in_order') }} = ' '
            when next_words_in_order is not null then false
        end as is_next_acknowledgement,
        {{ evalhouse.cosine_similarity('input_embedding', 'next_input_embedding') }} as cosine
    from pair_features
),

weighed as {{ evalhouse.materialized() }} (
    select
        compared.*,
        weights.threshold,
        {{ evalhouse.rephrase_logit('compared', 'weights') }}
        + coalesce(case
            when compared.cosine between -1.01e0 and 1.01e0
                then weights.embedding_cosine * (compared.cosine - weights.embedding_centre)
        end, 0) as logit
    from compared
    cross join weights
),

scored as (
    select
        *,
        case
            when is_next_equal then cast(1 as {{ double }})
            when logit is not null then 1 / (1 + {{ evalhouse.exp_safe('-logit') }})
        end as next_similarity
    from weighed
)

select
    trace_id,
    next_trace_id,
    cast(next_started_at as date) as next_started_on,
    cast(null as {{ dbt.type_string() }}) as definition_hash,
    cast(null as {{ dbt.type_string() }}) as day_state,
    next_similarity,
    is_next_equal,
    case
        when is_next_equal or is_next_acknowledgement then false
        when text_key is not null and next_text_key is not null then coalesce(next_similarity >= threshold, false)
    end as is_next_rephrase,
    is_next_acknowledgement
from scored

union all

select
    '' as trace_id,
    cast(null as {{ dbt.type_string() }}) as next_trace_id,
    next_started_on,
    definition_hash,
    day_state,
    cast(null as {{ double }}) as next_similarity,
    cast(null as {{ dbt.type_boolean() }}) as is_next_equal,
    cast(null as {{ dbt.type_boolean() }}) as is_next_rephrase,
    cast(null as {{ dbt.type_boolean() }}) as is_next_acknowledgement
from marked_days
