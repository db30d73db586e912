{#- How often users show each signal, by day, model version and slice, over turns for which it can be known. -#}

with rates as (
    select * from {{ ref('evalhouse', 'int_turn_rates') }}
)

select
    turn_date as signal_date,
    model_version,
    dimension_name,
    dimension_value,
    rate_name as signal_name,
    turns_known as turns_mature,
    turns_awaited as turns_immature,
    units,
    rate,
    ci_lower,
    ci_upper,
    status,
    status_reason,
    events as turns_with_signal,
    standard_error,
    effective_turns,
    is_complete
from rates
where rate_name in ('{{ evalhouse.signal_rules() | map(attribute='name') | join("', '") }}')
