{#- The one pass over the exposures: what is known of a unit when it is first exposed, before anybody is left out. -#}
{%- set dimensions = evalhouse.exposure_dimensions() -%}

with exposures as (
    select * from {{ ref('evalhouse', 'stg_exposures') }}
    where rejected_by is null
)

-- Attributes are those at first exposure: a later value may be a consequence of the treatment.
select
    experiment_id,
    unit_id,
    min(exposed_at) as first_exposed_at,
    max(exposed_at) as last_exposed_at,
    {{ evalhouse.value_at_first('variation_id', 'exposed_at') }} as variation_id,
    {{ evalhouse.value_at_first('cluster_id', 'exposed_at') }} as cluster_id,
    {%- for dimension in dimensions %}
    {{ evalhouse.value_at_first(dimension.name, 'exposed_at') }} as {{ dimension.name }},
    {%- endfor %}
    min(variation_id) <> max(variation_id) as has_several_variations,
    count(*) as exposure_rows
from exposures
group by experiment_id, unit_id
