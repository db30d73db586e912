-- What the package does with the benchmark's raw tables, written by hand for exactly these ten metrics: first exposures,
-- without units seen in both arms; each outcome once; per unit what happened after exposure (y) and in the 28 days before
-- (x); then units, means, variances and covariances of each arm. No tests of input, no dimensions, no inference.
-- The time of this statement is what `scripts/bench.py` measures the package against.
with units as (
    select
        experiment_id,
        unit_id,
        min(variation_id) as variation_id,
        min(exposed_at) as exposed_at
    from raw.exposures
    group by experiment_id, unit_id
    having min(variation_id) = max(variation_id)
),

outcomes as (
    select
        any_value(unit_id) as unit_id,
        any_value(event_name) as event_name,
        any_value(occurred_at) as occurred_at,
        any_value(value) as value
    from raw.outcomes
    group by outcome_id
),

events as (
    select
        units.experiment_id,
        units.unit_id,
        outcomes.event_name,
        outcomes.value,
        outcomes.occurred_at >= units.exposed_at as is_after
    from units
    inner join outcomes
        on units.unit_id = outcomes.unit_id
        and outcomes.occurred_at >= units.exposed_at - interval 28 days
),

sums as (
    select
        experiment_id,
        unit_id,
        count(*) filter (event_name = 'page_view' and is_after) as y_views,
        count(*) filter (event_name = 'page_view' and not is_after) as x_views,
        count(*) filter (event_name = 'message_sent' and is_after) as y_messages,
        count(*) filter (event_name = 'message_sent' and not is_after) as x_messages,
        count(*) filter (event_name = 'click' and is_after) as y_clicks,
        count(*) filter (event_name = 'click' and not is_after) as x_clicks,
        count(*) filter (event_name = 'copy_response' and is_after) as y_copies,
        count(*) filter (event_name = 'copy_response' and not is_after) as x_copies,
        count(*) filter (event_name = 'thumbs_up' and is_after) as y_ups,
        count(*) filter (event_name = 'thumbs_up' and not is_after) as x_ups,
        count(*) filter (event_name = 'thumbs_down' and is_after) as y_downs,
        count(*) filter (event_name = 'thumbs_down' and not is_after) as x_downs,
        count(*) filter (event_name = 'regenerate' and is_after) as y_repeats,
        count(*) filter (event_name = 'regenerate' and not is_after) as x_repeats,
        sum(value) filter (event_name = 'purchase' and is_after) as y_revenue,
        sum(value) filter (event_name = 'purchase' and not is_after) as x_revenue
    from events
    group by experiment_id, unit_id
),

values_of_units as (
    select
        units.experiment_id,
        units.variation_id,
        coalesce(y_views, 0) as y_views,
        coalesce(x_views, 0) as x_views,
        coalesce(y_messages, 0) as y_messages,
        coalesce(x_messages, 0) as x_messages,
        coalesce(y_clicks, 0) as y_clicks,
        coalesce(x_clicks, 0) as x_clicks,
        coalesce(y_copies, 0) as y_copies,
        coalesce(x_copies, 0) as x_copies,
        coalesce(y_ups, 0) as y_ups,
        coalesce(x_ups, 0) as x_ups,
        coalesce(y_downs, 0) as y_downs,
        coalesce(x_downs, 0) as x_downs,
        coalesce(y_repeats, 0) as y_repeats,
        coalesce(x_repeats, 0) as x_repeats,
        coalesce(y_revenue, 0) as y_revenue,
        coalesce(x_revenue, 0) as x_revenue
    from units
    left join sums
        on units.experiment_id = sums.experiment_id
        and units.unit_id = sums.unit_id
)

select
    experiment_id,
    variation_id,
    count(*) as units,
    avg(y_views) as my_views, var_samp(y_views) as vy_views,
    avg(x_views) as mx_views, var_samp(x_views) as vx_views, covar_samp(y_views, x_views) as c_views,
    avg(y_messages) as my_messages, var_samp(y_messages) as vy_messages,
    avg(x_messages) as mx_messages, var_samp(x_messages) as vx_messages,
    covar_samp(y_messages, x_messages) as c_messages,
    avg(y_clicks) as my_clicks, var_samp(y_clicks) as vy_clicks,
    avg(x_clicks) as mx_clicks, var_samp(x_clicks) as vx_clicks, covar_samp(y_clicks, x_clicks) as c_clicks,
    avg(y_copies) as my_copies, var_samp(y_copies) as vy_copies,
    avg(x_copies) as mx_copies, var_samp(x_copies) as vx_copies, covar_samp(y_copies, x_copies) as c_copies,
    avg(y_ups) as my_ups, var_samp(y_ups) as vy_ups,
    avg(x_ups) as mx_ups, var_samp(x_ups) as vx_ups, covar_samp(y_ups, x_ups) as c_ups,
    avg(y_downs) as my_downs, var_samp(y_downs) as vy_downs,
    avg(x_downs) as mx_downs, var_samp(x_downs) as vx_downs, covar_samp(y_downs, x_downs) as c_downs,
    avg(y_repeats) as my_repeats, var_samp(y_repeats) as vy_repeats,
    avg(x_repeats) as mx_repeats, var_samp(x_repeats) as vx_repeats, covar_samp(y_repeats, x_repeats) as c_repeats,
    avg(y_revenue) as my_revenue, var_samp(y_revenue) as vy_revenue,
    avg(x_revenue) as mx_revenue, var_samp(x_revenue) as vx_revenue, covar_samp(y_revenue, x_revenue) as c_revenue,
    covar_samp(y_repeats, y_messages) as c_repeats_messages,
    covar_samp(y_revenue, y_clicks) as c_revenue_clicks
from values_of_units
group by experiment_id, variation_id
order by experiment_id, variation_id
