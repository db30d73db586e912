-- What reading the columns of the outcomes costs by itself.
select
    count(*) as events,
    max(unit_id) as last_unit,
    sum(epoch_us(occurred_at)) as moments,
    count(*) filter (event_name = 'purchase') as purchases,
    sum(value) as total
from raw.outcomes
