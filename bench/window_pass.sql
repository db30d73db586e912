-- One sorted pass over the traces: what putting each unit's turns in order and looking one turn back costs by itself.
with ordered as (
    select started_at - lag(started_at) over (partition by unit_id order by started_at) as gap
    from raw.traces
)

select
    count(*) as turns,
    sum(epoch_us(gap)) as gaps
from ordered
