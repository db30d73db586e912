-- Which signal tells what people say of an answer? An AUC of 0.5 tells nothing; below it, the signal speaks against.
{{ config(enabled=evalhouse.has_input('traces') and evalhouse.has_input('evaluation_scores')) }}

with validity as (
    select * from {{ ref('evalhouse', 'signal_validity') }}
)

select
    signal_name,
    turns,
    round(cast(auc as {{ dbt.type_numeric() }}), 2) as auc,
    round(cast(auc_ci_lower as {{ dbt.type_numeric() }}), 2) as auc_at_least,
    round(cast(auc_ci_upper as {{ dbt.type_numeric() }}), 2) as auc_at_most
from validity
where
    label_name = 'helpful'
    and dimension_name = 'all'
    and status = 'ok'
order by abs(auc - 0.5) desc, signal_name asc
