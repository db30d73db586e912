{#-
    Every daily rate over turns with an interval clustered by unit: Wilson's, with the size that simple random sampling
    would have needed for the same variance. It stays within 0 and 1 and holds for rare things. Where hardly a unit has
    the thing (or lacks it) the data cannot show how it clusters, and the number of units takes over as the size.
-#}
{%- set key = ['turn_date', 'model_version', 'dimension_name', 'dimension_value'] -%}
{%- set double = evalhouse.type_double() -%}
{%- set day_end = evalhouse.time_added('day', 1, 'cast(turn_date as ' ~ dbt.type_timestamp() ~ ')') %}

with sums as (
    select * from {{ ref('evalhouse', 'int_turn_rate_sums') }}
),

watermarks as (
    {{ evalhouse.fact_watermarks(['traces']) | indent(4) }}
),

by_rate as (
    {%- for rate in evalhouse.turn_rates() %}
    {{ 'union all' if not loop.first }}
    select
        {{ key | join(',\n        ') }},
        '{{ rate.name }}' as rate_name,
        cast({{ rate.base }}__turns as {{ dbt.type_bigint() }}) as turns_known,
        cast({{ rate.base }}__awaited as {{ dbt.type_bigint() }}) as turns_awaited,
        cast({{ rate.base }}__units as {{ double }}) as units,
        cast({{ rate.name }}__turns as {{ dbt.type_bigint() }}) as events,
        cast({{ rate.name }}__units_with as {{ double }}) as units_with,
        cast({{ rate.name }}__units_without as {{ double }}) as units_without,
        {{ rate.base }}__weight as weight,
        {{ rate.base }}__squares as weight_squares,
        {{ rate.name }}__weight as event_weight,
        {{ rate.name }}__squares as event_squares,
        {{ rate.name }}__products as event_products
    from sums
    {%- endfor %}
),

rated as {{ evalhouse.materialized() }} (
    select
        *,
        case
            when turns_known = 0 then null
            when events = 0 then cast(0 as {{ double }})
            when events = turns_known then cast(1 as {{ double }})
            else event_weight / weight
        end as rate,
        case when turns_known > 0 then weight * weight / weight_squares end as size_in_units,
        1 / power(1 + case when units_with < units_without then units_with else units_without end, 2) as unseen_share,
        cast({{ evalhouse.settings().analysis.alpha / 2 }} as {{ double }}) as tail,
        case when units >= 2 then units - 1 end as degrees_of_freedom
    from by_rate
),

spread as {{ evalhouse.materialized() }} (
    select
        *,
        -- Sum over units of (events - rate * turns)^2, and the size of its terms, for what rounding leaves of nothing.
        event_squares - 2 * rate * event_products + rate * rate * weight_squares as squared_errors,
        event_squares + 2 * rate * event_products + rate * rate * weight_squares as squared_terms
    from rated
),

{{ evalhouse.critical_value_steps('spread') }},

varied as {{ evalhouse.materialized() }} (
    select
        *,
        case
            when units < 2 then null
            when events = 0 or events = turns_known then null
            when squared_errors > 1e-13 * squared_terms
                then units / (units - 1) * squared_errors / (weight * weight)
        end as variance
    from refined_twice
),

sized as {{ evalhouse.materialized() }} (
    select
        *,
        -- Without any difference between units, turns are the size.
        case
            when variance is not null then rate * (1 - rate) / variance
            when rate > 0 and rate < 1 then cast(turns_known as {{ double }})
            else size_in_units
        end as seen_size
    from varied
),

blended as {{ evalhouse.materialized() }} (
    select
        *,
        1 / (
            (1 - unseen_share) / seen_size
            + unseen_share / case when size_in_units < seen_size then size_in_units else seen_size end
        ) as effective_size
    from sized
),

bounded as (
    select
        *,
        {{ evalhouse.wilson_bound('rate', 'effective_size', 'critical_value', '-') }} as lower_bound,
        {{ evalhouse.wilson_bound('rate', 'effective_size', 'critical_value', '+') }} as upper_bound
    from blended
)

select
    {{ key | join(',\n    ') }},
    rate_name,
    turns_known,
    turns_awaited,
    cast(units as {{ dbt.type_bigint() }}) as units,
    events,
    rate,
    case when units >= 2 then sqrt(rate * (1 - rate) / effective_size) end as standard_error,
    case when units >= 2 then effective_size end as effective_turns,
    -- Rounding must not let an interval begin a hair above a rate of zero, nor end below one.
    case
        when rate = 0 and units >= 2 then cast(0 as {{ double }})
        when lower_bound < 0 then cast(0 as {{ double }})
        else lower_bound
    end as ci_lower,
    case
        when rate = 1 and units >= 2 then cast(1 as {{ double }})
        when upper_bound > 1 then cast(1 as {{ double }})
        else upper_bound
    end as ci_upper,
    case when units >= 2 then 'ok' else 'insufficient' end as status,
    case
        when units >= 2 then null
        when units = 1 then 'fewer_than_two_units'
        when turns_awaited > 0 then 'no_mature_turns'
        else 'no_turns_of_the_kind'
    end as status_reason,
    turns_awaited = 0 and coalesce({{ day_end }} <= watermarks.traces_watermark_at, false) as is_complete
from bounded
cross join watermarks
