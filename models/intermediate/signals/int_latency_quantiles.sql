{#-
    Quantiles of latency and of time to first token with intervals clustered by unit (Deng, Knoblich and Lu, KDD 2018):
    the share of values at or below the quantile has the error of a ratio over units, and the order statistics at the
    ends of the interval of that share are the interval of the quantile. No density is needed. Kept by day.
-#}
{{ config(
    materialized='incremental',
    on_schema_change='append_new_columns',
    sql_header=evalhouse.one_writer('int_latency_quantiles'),
    **evalhouse.incremental_by(['turn_date'])
) }}
{%- set quantiles = {'p50': 0.5, 'p95': 0.95, 'p99': 0.99} -%}
{%- set key = 'turn_date, model_version, dimension_name, dimension_value, measure' -%}
{%- set double = evalhouse.type_double() %}

with all_ranks as (
    select * from {{ ref('evalhouse', 'int_latency_ranks') }}
    where definition_hash is null
),

all_turns as (
    select * from {{ ref('evalhouse', 'turns') }}
),

slices as (
    select * from {{ ref('evalhouse', 'int_latency_slices') }}
),

{{ evalhouse.replaced_turn_days('int_latency_ranks', made_with=evalhouse.settings().analysis.alpha) }},

turns as (
    select * from all_turns
    {%- if is_incremental() %}
    where started_at >= (select cast(replaced_from as {{ dbt.type_timestamp() }}) from reach)
    {%- endif %}
),

latencies as (
    {{ evalhouse.latency_values() | indent(4) }}
),

ranks as (
    select * from all_ranks
    {%- if is_incremental() %}
    where turn_date >= (select replaced_from from reach)
    {%- endif %}
),

ranked as (
    select
        ranks.*,
        slices.values_in_slice
    from ranks
    inner join slices on ranks.slice_number = slices.slice_number
),

estimates as {{ evalhouse.materialized() }} (
    select
        slice_number,
        cast(sum(turns) as {{ dbt.type_bigint() }}) as turns_measured
        {%- for name, fraction in quantiles.items() %},
        {{ evalhouse.order_statistic('cast(' ~ fraction ~ ' as ' ~ double ~ ')') }} as {{ name }}
        {%- endfor %}
    from ranked
    group by slice_number
),

unit_counts as (
    select
        latencies.slice_number,
        latencies.unit_id,
        sum(latencies.ranks) as w
        {%- for name in quantiles %},
        sum(
            -- Between two equal values interpolation may round to a hair below them.
            case when latencies.metric_value <= estimates.{{ name }} * (1 + 1e-12) then latencies.ranks else 0 end
        ) as {{ name }}
        {%- endfor %}
    from latencies
    inner join estimates on latencies.slice_number = estimates.slice_number
    group by latencies.slice_number, latencies.unit_id
),

unit_sums as {{ evalhouse.materialized() }} (
    select
        slice_number,
        cast(count(*) as {{ double }}) as units,
        cast({{ evalhouse.settings().analysis.alpha / 2 }} as {{ double }}) as tail,
        case when count(*) >= 2 then cast(count(*) - 1 as {{ double }}) end as degrees_of_freedom,
        sum(w) as w,
        sum(w * w) as ww
        {%- for name in quantiles %},
        sum({{ name }}) / sum(w) as {{ name }}_share,
        sum({{ name }} * {{ name }}) as {{ name }}_squares,
        sum({{ name }} * w) as {{ name }}_products
        {%- endfor %}
    from unit_counts
    group by slice_number
),

squared as {{ evalhouse.materialized() }} (
    select
        *
        {%- for name in quantiles %},
        {{ name }}_squares - 2 * {{ name }}_share * {{ name }}_products + {{ name }}_share * {{ name }}_share * ww
            as {{ name }}_errors
        {%- endfor %}
    from unit_sums
),

{{ evalhouse.critical_value_steps('squared') }},

share_errors as {{ evalhouse.materialized() }} (
    select
        *
        {%- for name in quantiles %},
        case
            when units < 2 then null
            when {{ name }}_errors > 0 then critical_value * sqrt(units / (units - 1) * {{ name }}_errors) / w
            else cast(0 as {{ double }})
        end as {{ name }}_half_width
        {%- endfor %}
    from refined_twice
),

bounded as {{ evalhouse.materialized() }} (
    select
        slice_number,
        cast(units as {{ dbt.type_bigint() }}) as units
        {%- for name, fraction in quantiles.items() %}
        {#- Enough units for the interval to stay within the data if each had one value. Going by the half width alone
            would keep those intervals whose error came out too small by chance. #}
        {%- set enough = 'units * ' ~ (1 - fraction) | round(2) ~ ' > critical_value * critical_value * ' ~ fraction
            ~ ' and ' ~ fraction ~ ' + ' ~ name ~ '_half_width < 1 and ' ~ fraction ~ ' - ' ~ name
            ~ '_half_width > 0' %},
        case
            when {{ enough }} then cast({{ fraction }} as {{ double }}) - {{ name }}_half_width
        end as {{ name }}_lower_fraction,
        case
            when {{ enough }} then cast({{ fraction }} as {{ double }}) + {{ name }}_half_width
        end as {{ name }}_upper_fraction
        {%- endfor %}
    from share_errors
),

bounded_ranks as (
    select
        ranked.slice_number,
        ranked.metric_value,
        ranked.values_before,
        ranked.values_through,
        ranked.values_in_slice
        {%- for name in quantiles %},
        bounded.{{ name }}_lower_fraction,
        bounded.{{ name }}_upper_fraction
        {%- endfor %}
    from ranked
    inner join bounded on ranked.slice_number = bounded.slice_number
),

-- Without an interval of the share the fractions are null, and the sums below count nothing.
bounds as {{ evalhouse.materialized() }} (
    select
        slice_number
        {%- for name in quantiles %},
        {{ evalhouse.order_statistic(name ~ '_lower_fraction') }} as {{ name }}_lower,
        {{ evalhouse.order_statistic(name ~ '_upper_fraction') }} as {{ name }}_upper
        {%- endfor %}
    from bounded_ranks
    group by slice_number
)

select
    {{ evalhouse.qualified('slices', key) }},
    cast(null as {{ dbt.type_string() }}) as definition_hash,
    cast(null as {{ dbt.type_string() }}) as day_state,
    estimates.turns_measured,
    bounded.units
    {%- for name in quantiles %},
    estimates.{{ name }},
    case
        when bounded.{{ name }}_lower_fraction is not null and bounds.{{ name }}_lower < bounds.{{ name }}_upper
            then bounds.{{ name }}_lower
    end as {{ name }}_ci_lower,
    case
        when bounded.{{ name }}_lower_fraction is not null and bounds.{{ name }}_lower < bounds.{{ name }}_upper
            then bounds.{{ name }}_upper
    end as {{ name }}_ci_upper,
    case
        when bounded.{{ name }}_lower_fraction is null then 'too_few_units'
        when bounds.{{ name }}_lower >= bounds.{{ name }}_upper then 'bounds_tied'
    end as {{ name }}_refused_because
    {%- endfor %}
from estimates
inner join slices on estimates.slice_number = slices.slice_number
inner join bounded on estimates.slice_number = bounded.slice_number
inner join bounds on estimates.slice_number = bounds.slice_number

union all

select
    turn_date,
    cast(null as {{ dbt.type_string() }}) as model_version,
    cast(null as {{ dbt.type_string() }}) as dimension_name,
    cast(null as {{ dbt.type_string() }}) as dimension_value,
    cast(null as {{ dbt.type_string() }}) as measure,
    definition_hash,
    day_state,
    cast(null as {{ dbt.type_bigint() }}) as turns_measured,
    cast(null as {{ dbt.type_bigint() }}) as units
    {%- for name in quantiles %},
    cast(null as {{ double }}) as {{ name }},
    cast(null as {{ double }}) as {{ name }}_ci_lower,
    cast(null as {{ double }}) as {{ name }}_ci_upper,
    cast(null as {{ dbt.type_string() }}) as {{ name }}_refused_because
    {%- endfor %}
from marked_days
