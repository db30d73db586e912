{#-
    How what units do changes with the days since they were first exposed. Per arm and phase, over a fixed cohort (units
    with `cohort_days` complete days after the day of exposure): mean and variance over units of each unit's own slope
    on the day, and of its mean in the first and in the last third of the days. Every unit is one observation, so that
    the days of a unit may depend on one another. Metrics: open-ended goals whose daily totals are sums, counts, maxima
    or whether anything happened; daily values are not capped.
-#}
{%- set double = evalhouse.type_double() -%}
{%- set least_days = 6 -%}
{%- set most_days = 28 -%}
{%- set metrics = evalhouse.trending_metrics() -%}
{%- set facts = metrics | map(attribute='fact') | unique | list -%}
{%- set parts = ['slope', 'first', 'last'] -%}

{% if metrics -%}
with units as (
    select * from {{ ref('evalhouse', 'int_entered_units') }}
    where second_variation_at is null and not is_clustered
),

unit_days as (
    select * from {{ ref('evalhouse', 'int_unit_days') }}
),

all_experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

watermarks as (
    {{ evalhouse.fact_watermarks(facts) | indent(4) }}
),

-- Half of the days observed, so that the cohort is large and the stretch is long.
observed as (
    select
        experiment_id,
        horizon_at,
        floor({{ evalhouse.seconds_between('first_exposed_at', 'horizon_at') }} / 172800) as half_of_days
    from all_experiments
    where first_exposed_at is not null
),

experiments as (
    select
        observed.experiment_id,
        cast(case when observed.half_of_days > {{ most_days }} then {{ most_days }} else observed.half_of_days end
            as integer) as cohort_days
        {%- for fact in facts %},
        cast(case
            when watermarks.{{ fact }}_complete_until < observed.horizon_at then watermarks.{{ fact }}_complete_until
            else observed.horizon_at
        end as date) as {{ fact }}_incomplete_date
        {%- endfor %}
    from observed
    cross join watermarks
    where observed.half_of_days >= {{ least_days }}
),

cohort as (
    select
        units.experiment_id,
        units.unit_id,
        units.variation_id,
        units.phase_number,
        units.entry_date,
        cast(experiments.cohort_days as {{ double }}) as cohort_days,
        cast(floor(cast(experiments.cohort_days as {{ double }}) / 3) as {{ double }}) as third_of_days
        {%- for fact in facts %},
        {{ evalhouse.time_added('day', 'experiments.cohort_days', 'units.entry_date') }}
        < experiments.{{ fact }}_incomplete_date as is_complete_in_{{ fact }}
        {%- endfor %}
    from units
    inner join experiments on units.experiment_id = experiments.experiment_id
),

cohort_sizes as (
    select
        experiment_id,
        variation_id,
        phase_number,
        cast(max(cohort_days) as integer) as cohort_days
        {%- for fact in facts %},
        cast(sum(case when is_complete_in_{{ fact }} then 1 else 0 end) as {{ double }}) as units_in_{{ fact }}
        {%- endfor %}
    from cohort
    group by experiment_id, variation_id, phase_number
),

numbered_days as (
    select
        cohort.*,
        cast({{ dbt.datediff('cohort.entry_date', 'unit_days.activity_date', 'day') }} as {{ double }}) as day_number
        {%- for metric in metrics %},
        case when cohort.is_complete_in_{{ metric.fact }} then unit_days.{{ metric.numerator }} end
            as {{ metric.name }}__value
        {%- endfor %}
    from cohort
    inner join unit_days
        on cohort.experiment_id = unit_days.experiment_id
        and cohort.unit_id = unit_days.unit_id
        and unit_days.activity_date > cohort.entry_date
    where (
        {%- for fact in facts %}
        {{ 'or ' if not loop.first }}cohort.is_complete_in_{{ fact }}
        {%- endfor %}
    )
    and (
        {%- for metric in metrics %}
        {{ 'or ' if not loop.first }}unit_days.{{ metric.numerator }} is not null
        {%- endfor %}
    )
),

-- What a day of one unit adds to its own least-squares slope.
weighted_days as (
    select
        *,
        (day_number - (cohort_days + 1) / 2) * 12 / (cohort_days * (cohort_days * cohort_days - 1)) as slope_weight,
        case when day_number <= third_of_days then 1 / third_of_days end as first_weight,
        case when day_number > cohort_days - third_of_days then 1 / third_of_days end as last_weight
    from numbered_days
    where day_number <= cohort_days
),

-- A day without a row is a zero: it has no part in these sums.
unit_sums as (
    select
        experiment_id,
        unit_id,
        variation_id,
        phase_number
        {%- for metric in metrics %}
        {%- for part in parts %},
        sum({{ part }}_weight * {{ metric.name }}__value) as {{ metric.name }}__{{ part }}
        {%- endfor %}
        {%- endfor %}
    from weighted_days
    group by experiment_id, unit_id, variation_id, phase_number
),

active_units as (
    select
        experiment_id,
        variation_id,
        phase_number
        {%- for metric in metrics %}
        {%- for part in parts %},
        {%- set column = metric.name ~ '__' ~ part %}
        cast(count({{ column }}) as {{ double }}) as {{ column }}_units,
        coalesce(avg({{ column }}), 0) as {{ column }}_mean,
        coalesce(var_samp({{ column }}), 0) as {{ column }}_variance
        {%- endfor %}
        {%- endfor %}
    from unit_sums
    group by experiment_id, variation_id, phase_number
),

-- The others of the cohort are zeros: squares within those that were active, and between them and the zeros.
arms as (
    select
        cohort_sizes.*
        {%- for metric in metrics %}
        {%- set units = 'cohort_sizes.units_in_' ~ metric.fact %}
        {%- for part in parts %}
        {%- set column = 'active_units.' ~ metric.name ~ '__' ~ part %},
        {{ column }}_units * {{ column }}_mean / nullif({{ units }}, 0) as {{ metric.name }}__mean_{{ part }},
        (
            ({{ column }}_units - 1) * {{ column }}_variance
            + {{ column }}_units * ({{ units }} - {{ column }}_units) / nullif({{ units }}, 0)
            * {{ column }}_mean * {{ column }}_mean
        ) / nullif({{ units }} - 1, 0) as {{ metric.name }}__variance_{{ part }}
        {%- endfor %}
        {%- endfor %}
    from cohort_sizes
    left join active_units
        on cohort_sizes.experiment_id = active_units.experiment_id
        and cohort_sizes.variation_id = active_units.variation_id
        and cohort_sizes.phase_number = active_units.phase_number
)

{% for metric in metrics -%}
{{ 'union all' if not loop.first }}
select
    experiment_id,
    '{{ metric.name }}' as metric_name,
    variation_id,
    phase_number,
    cohort_days,
    units_in_{{ metric.fact }} as units
    {%- for part in parts %},
    coalesce({{ metric.name }}__mean_{{ part }}, 0) as mean_{{ part }},
    case when units_in_{{ metric.fact }} > 1 then coalesce({{ metric.name }}__variance_{{ part }}, 0) end
        as variance_{{ part }}
    {%- endfor %}
from arms
where units_in_{{ metric.fact }} > 0
{% endfor -%}
{%- else -%}
with experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
)

select
    experiment_id,
    cast(null as {{ dbt.type_string() }}) as metric_name,
    cast(null as {{ dbt.type_string() }}) as variation_id,
    cast(null as {{ dbt.type_bigint() }}) as phase_number,
    cast(null as integer) as cohort_days,
    cast(null as {{ double }}) as units
    {%- for part in parts %},
    cast(null as {{ double }}) as mean_{{ part }},
    cast(null as {{ double }}) as variance_{{ part }}
    {%- endfor %}
from experiments
where 1 = 0
{%- endif %}
