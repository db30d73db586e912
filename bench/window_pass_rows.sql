-- The same pass with every column of the traces carried along and written: the least that a table of turns can cost.
select
    *,
    started_at - lag(started_at) over (partition by unit_id order by started_at) as gap
from raw.traces
