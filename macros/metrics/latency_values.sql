{#- Select of latency and time to first token of every turn of the CTE `turns`, by the slices of the CTE `slices`
    (slice_number, turn_date, unit_id, metric_value, ranks). A turn takes as many ranks as its sample weight, relative
    to the mean one of the slice. -#}
{% macro latency_values() -%}
{%- set key = 'turn_date, model_version, dimension_name, dimension_value, measure' -%}
select
    slices.slice_number,
    sliced.turn_date,
    sliced.unit_id,
    sliced.metric_value,
    case
        when slices.least_weight = slices.greatest_weight then cast(1 as {{ evalhouse.type_double() }})
        else sliced.sample_weight * slices.values_in_slice / slices.weight_in_slice
    end as ranks
from (
    {%- for measure in ['latency_ms', 'ttft_ms'] %}
    {%- set first_measure = loop.first %}
    {%- for slice in [none] + evalhouse.turn_slices() %}
    {{ 'union all' if not (first_measure and loop.first) }}
    select
        cast(started_at as date) as turn_date,
        coalesce(model_version, '(missing)') as model_version,
        {{ "'" ~ slice.name ~ "'" if slice else "'all'" }} as dimension_name,
        {{ "coalesce(cast(" ~ slice.name ~ " as " ~ dbt.type_string() ~ "), '(missing)')" if slice
            else "'all'" }} as dimension_value,
        '{{ measure }}' as measure,
        unit_id,
        sample_weight,
        {{ measure }} as metric_value
    from turns
    where {{ measure }} is not null
    {%- endfor %}
    {%- endfor %}
) as sliced
-- Each has its slice. Said as a left join, since planners take five equal columns to leave a handful of rows, and then
-- keep the millions in memory as the smaller side of the next join.
left join slices on {{ evalhouse.joined('sliced', 'slices', key) }}
{%- endmacro %}
