{#- What is ranked together: latencies, and times to first token, of a day, model version and slice, under one
    number. -#}
{%- set slices = evalhouse.turn_slices() -%}
{%- set key = 'turn_date, model_version, dimension_name, dimension_value' -%}
{%- set measures = ['latency_ms', 'ttft_ms'] -%}
{%- set double = evalhouse.type_double() %}

with turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

labelled as (
    select
        cast(started_at as date) as turn_date,
        coalesce(model_version, '(missing)') as model_version,
        {%- for slice in slices %}
        coalesce(cast({{ slice.name }} as {{ dbt.type_string() }}), '(missing)') as {{ slice.name }},
        {%- endfor %}
        {%- for measure in measures %}
        case when {{ measure }} is not null then sample_weight end as {{ measure }}__weight{{ ',' if not loop.last }}
        {%- endfor %}
    from turns
),

sums as (
    select
        turn_date,
        model_version,
        {{ evalhouse.dimension_labels(slices) }},
        {%- for measure in measures %}
        cast(count({{ measure }}__weight) as {{ double }}) as {{ measure }}__values,
        sum({{ measure }}__weight) as {{ measure }}__sum,
        min({{ measure }}__weight) as {{ measure }}__least,
        max({{ measure }}__weight) as {{ measure }}__greatest{{ ',' if not loop.last }}
        {%- endfor %}
    from labelled
    group by {{ evalhouse.dimension_grouping_sets(['turn_date', 'model_version'], slices) }}
),

by_measure as (
    {%- for measure in measures %}
    {{ 'union all' if not loop.first }}
    select
        {{ key }},
        '{{ measure }}' as measure,
        {{ measure }}__values as values_in_slice,
        {{ measure }}__sum as weight_in_slice,
        {{ measure }}__least as least_weight,
        {{ measure }}__greatest as greatest_weight
    from sums
    where {{ measure }}__values > 0
    {%- endfor %}
)

select
    -- One number to sort and join by instead of five columns; that of a day does not hang on other days.
    cast({{ dbt.datediff("cast('2000-01-01' as date)", 'turn_date', 'day') }} as {{ dbt.type_bigint() }}) * 1000000000
    + row_number() over (partition by turn_date order by {{ key }}, measure) as slice_number,
    {{ key }},
    measure,
    values_in_slice,
    weight_in_slice,
    least_weight,
    greatest_weight
from by_measure
