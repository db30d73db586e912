with results as (
    select * from {{ ref('evalhouse', 'int_results') }}
    where look_date = {{ evalhouse.current_look() }}
)

select
    {{ evalhouse.result_columns() }}
from results
