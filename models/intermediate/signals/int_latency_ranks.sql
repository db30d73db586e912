{#- Latency and time to first token of every turn, in order within day, model version and slice: every later step picks
    ranks. A turn takes as many ranks as its sample weight, relative to the mean one of the slice. -#}
{%- set slices = evalhouse.turn_slices() -%}
{%- set key = 'turn_date, model_version, dimension_name, dimension_value, measure' %}

with turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

slices as (
    select * from {{ ref('evalhouse', 'int_latency_slices') }}
),

sliced as (
    {%- for measure in ['latency_ms', 'ttft_ms'] %}
    {%- set first_measure = loop.first %}
    {%- for slice in [none] + slices %}
    {{ 'union all' if not (first_measure and loop.first) }}
    select
        cast(started_at as date) as turn_date,
        coalesce(model_version, '(missing)') as model_version,
        {{ "'" ~ slice.name ~ "'" if slice else "'all'" }} as dimension_name,
        {{ "coalesce(cast(" ~ slice.name ~ " as " ~ dbt.type_string() ~ "), '(missing)')" if slice
            else "'all'" }} as dimension_value,
        '{{ measure }}' as measure,
        trace_id,
        unit_id,
        sample_weight,
        {{ measure }} as metric_value
    from turns
    where {{ measure }} is not null
    {%- endfor %}
    {%- endfor %}
),

weighted as (
    select
        slices.slice_number,
        sliced.trace_id,
        sliced.unit_id,
        sliced.metric_value,
        case
            when slices.least_weight = slices.greatest_weight then cast(1 as {{ evalhouse.type_double() }})
            else sliced.sample_weight * slices.values_in_slice / slices.weight_in_slice
        end as ranks
    from sliced
    inner join slices on {{ evalhouse.joined('sliced', 'slices', key) }}
),

ranked as (
    select
        slice_number,
        unit_id,
        metric_value,
        ranks,
        row_number() over (partition by slice_number order by metric_value, trace_id) as place,
        -- To a millionth of a rank: where a row ends must not hang on how an engine rounds a running sum.
        floor(1e6 * sum(ranks) over (
            partition by slice_number order by metric_value, trace_id
            rows between unbounded preceding and current row
        ) + 5e-1) / 1e6 as values_through
    from weighted
)

select
    slice_number,
    unit_id,
    ranks,
    metric_value,
    -- Taken from the row before, so that no rank falls between two rows by rounding.
    coalesce(
        lag(values_through) over (partition by slice_number order by place),
        cast(0 as {{ evalhouse.type_double() }})
    ) as values_before,
    values_through
from ranked
