with results as (
    select * from {{ ref('evalhouse', 'int_results') }}
    where look_date <> {{ evalhouse.current_look() }}
)

select
    look_date as as_of_date,
    {{ evalhouse.result_columns() }}
from results
