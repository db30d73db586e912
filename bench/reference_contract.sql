-- The whole job of the benchmark, written by hand as one statement over the raw tables for exactly these ten metrics:
-- first exposures, without units seen in both arms; each outcome once; per unit what happened after exposure (y) and in
-- the 28 days before (x); then, for each arm, units and the sums that eight CUPED means and two ratios need. No tests of
-- input, no dimensions, no inference, no days. The package is measured against the time of this statement.
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

arms as (
    select
        experiment_id,
        variation_id,
        count(*) as units
    from units
    group by experiment_id, variation_id
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
        unit_id,
        occurred_at,
        (event_name = 'page_view')::double as views,
        (event_name = 'message_sent')::double as messages,
        (event_name = 'click')::double as clicks,
        (event_name = 'copy_response')::double as copies,
        (event_name = 'thumbs_up')::double as ups,
        (event_name = 'thumbs_down')::double as downs,
        (event_name = 'regenerate')::double as repeats,
        case when event_name = 'purchase' then value else 0 end as revenue
    from outcomes
),

-- Units without any event add nothing to a sum.
sums as (
    select
        units.experiment_id,
        units.variation_id,
        units.unit_id,
        sum(case when occurred_at >= exposed_at then views else 0 end) as y_views,
        sum(case when occurred_at < exposed_at then views else 0 end) as x_views,
        sum(case when occurred_at >= exposed_at then messages else 0 end) as y_messages,
        sum(case when occurred_at < exposed_at then messages else 0 end) as x_messages,
        sum(case when occurred_at >= exposed_at then clicks else 0 end) as y_clicks,
        sum(case when occurred_at < exposed_at then clicks else 0 end) as x_clicks,
        sum(case when occurred_at >= exposed_at then copies else 0 end) as y_copies,
        sum(case when occurred_at < exposed_at then copies else 0 end) as x_copies,
        sum(case when occurred_at >= exposed_at then ups else 0 end) as y_ups,
        sum(case when occurred_at < exposed_at then ups else 0 end) as x_ups,
        sum(case when occurred_at >= exposed_at then downs else 0 end) as y_downs,
        sum(case when occurred_at < exposed_at then downs else 0 end) as x_downs,
        sum(case when occurred_at >= exposed_at then repeats else 0 end) as y_repeats,
        sum(case when occurred_at < exposed_at then repeats else 0 end) as x_repeats,
        sum(case when occurred_at >= exposed_at then revenue else 0 end) as y_revenue,
        sum(case when occurred_at < exposed_at then revenue else 0 end) as x_revenue
    from units
    inner join events
        on units.unit_id = events.unit_id
        and events.occurred_at >= units.exposed_at - interval 28 days
    group by units.experiment_id, units.variation_id, units.unit_id
)

select
    arms.experiment_id,
    arms.variation_id,
    arms.units,
    sum(y_views) as y_views, sum(y_views * y_views) as yy_views,
    sum(x_views) as x_views, sum(x_views * x_views) as xx_views, sum(x_views * y_views) as xy_views,
    sum(y_messages) as y_messages, sum(y_messages * y_messages) as yy_messages,
    sum(x_messages) as x_messages, sum(x_messages * x_messages) as xx_messages,
    sum(x_messages * y_messages) as xy_messages,
    sum(y_clicks) as y_clicks, sum(y_clicks * y_clicks) as yy_clicks,
    sum(x_clicks) as x_clicks, sum(x_clicks * x_clicks) as xx_clicks, sum(x_clicks * y_clicks) as xy_clicks,
    sum(y_copies) as y_copies, sum(y_copies * y_copies) as yy_copies,
    sum(x_copies) as x_copies, sum(x_copies * x_copies) as xx_copies, sum(x_copies * y_copies) as xy_copies,
    sum(y_ups) as y_ups, sum(y_ups * y_ups) as yy_ups,
    sum(x_ups) as x_ups, sum(x_ups * x_ups) as xx_ups, sum(x_ups * y_ups) as xy_ups,
    sum(y_downs) as y_downs, sum(y_downs * y_downs) as yy_downs,
    sum(x_downs) as x_downs, sum(x_downs * x_downs) as xx_downs, sum(x_downs * y_downs) as xy_downs,
    sum(y_repeats) as y_repeats, sum(y_repeats * y_repeats) as yy_repeats,
    sum(x_repeats) as x_repeats, sum(x_repeats * x_repeats) as xx_repeats, sum(x_repeats * y_repeats) as xy_repeats,
    sum(y_revenue) as y_revenue, sum(y_revenue * y_revenue) as yy_revenue,
    sum(x_revenue) as x_revenue, sum(x_revenue * x_revenue) as xx_revenue, sum(x_revenue * y_revenue) as xy_revenue,
    sum(y_repeats * y_messages) as repeats_messages,
    sum(y_revenue * y_clicks) as revenue_clicks
from arms
inner join sums
    on arms.experiment_id = sums.experiment_id
    and arms.variation_id = sums.variation_id
group by arms.experiment_id, arms.variation_id, arms.units
order by arms.experiment_id, arms.variation_id
