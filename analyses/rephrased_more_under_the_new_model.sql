-- Did users say things again more often under the new model, and in which language?
{{ config(enabled=evalhouse.has_input('traces')) }}

with results as (
    select * from {{ ref('evalhouse', 'experiment_results') }}
)

select
    dimension_value as speakers_of,
    units_control + units_treatment as users,
    round(cast(100 * value_control as {{ dbt.type_numeric() }}), 1) as percent_control,
    round(cast(100 * value_treatment as {{ dbt.type_numeric() }}), 1) as percent_treatment,
    round(cast(100 * ci_lower_absolute as {{ dbt.type_numeric() }}), 1) as points_more_at_least,
    round(cast(100 * ci_upper_absolute as {{ dbt.type_numeric() }}), 1) as points_more_at_most,
    verdict
from results
where
    experiment_id = 'answer_model_v3'
    and metric_name = 'rephrase_rate'
    and dimension_name in ('all', 'language')
order by dimension_name asc, effect_absolute desc, dimension_value asc
