{#- Latency and time to first token of every turn, in order within day, model version and slice: every later step picks
    ranks. A turn takes as many ranks as its sample weight, relative to the mean one of the slice. -#}
{%- set slices = evalhouse.turn_slices() -%}
{%- set key = ['turn_date', 'model_version', 'dimension_name', 'dimension_value', 'measure'] %}

with turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

measured as {{ evalhouse.materialized() }} (
    {%- for measure in ['latency_ms', 'ttft_ms'] %}
    {{ 'union all' if not loop.first }}
    select
        cast(started_at as date) as turn_date,
        coalesce(model_version, '(missing)') as model_version,
        {%- for slice in slices %}
        coalesce(cast({{ slice.name }} as {{ dbt.type_string() }}), '(missing)') as {{ slice.name }},
        {%- endfor %}
        '{{ measure }}' as measure,
        trace_id,
        unit_id,
        sample_weight,
        {{ measure }} as metric_value
    from turns
    where {{ measure }} is not null
    {%- endfor %}
),

sliced as {{ evalhouse.materialized() }} (
    {%- for slice in [none] + slices %}
    {{ 'union all' if not loop.first }}
    select
        turn_date,
        model_version,
        {{ "'" ~ slice.name ~ "'" if slice else "'all'" }} as dimension_name,
        {{ slice.name if slice else "'all'" }} as dimension_value,
        measure,
        trace_id,
        unit_id,
        sample_weight,
        metric_value
    from measured
    {%- endfor %}
),

slices as (
    select
        {{ key | join(',\n        ') }},
        -- One number to sort and join by instead of five columns.
        row_number() over (order by {{ key | join(', ') }}) as slice_number,
        cast(count(*) as {{ evalhouse.type_double() }}) as values_in_slice,
        sum(sample_weight) as weight_in_slice,
        min(sample_weight) as least_weight,
        max(sample_weight) as greatest_weight
    from sliced
    group by {{ key | join(', ') }}
),

weighted as (
    select
        {{ evalhouse.qualified('sliced', key | join(', ')) }},
        sliced.trace_id,
        sliced.unit_id,
        sliced.metric_value,
        slices.slice_number,
        slices.values_in_slice,
        case
            when slices.least_weight = slices.greatest_weight then cast(1 as {{ evalhouse.type_double() }})
            else sliced.sample_weight * slices.values_in_slice / slices.weight_in_slice
        end as ranks
    from sliced
    inner join slices on {{ evalhouse.joined('sliced', 'slices', key | join(', ')) }}
),

ranked as (
    select
        *,
        -- To a millionth of a rank: where a row ends must not hang on how an engine rounds a running sum.
        floor(1e6 * sum(ranks) over (
            partition by slice_number order by metric_value, trace_id
            rows between unbounded preceding and current row
        ) + 5e-1) / 1e6 as values_through
    from weighted
)

select
    slice_number,
    {{ key | join(',\n    ') }},
    trace_id,
    unit_id,
    ranks,
    metric_value,
    -- Taken from the row before, so that no rank falls between two rows by rounding.
    coalesce(
        lag(values_through) over (partition by slice_number order by metric_value, trace_id),
        cast(0 as {{ evalhouse.type_double() }})
    ) as values_before,
    values_through,
    values_in_slice
from ranked
