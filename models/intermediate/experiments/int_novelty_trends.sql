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
with exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
    where excluded_by is null and not is_clustered
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
        exposed_units.experiment_id,
        exposed_units.unit_id,
        exposed_units.variation_id,
        exposed_units.phase_number,
        cast(exposed_units.first_exposed_at as date) as entry_date,
        cast(experiments.cohort_days as {{ double }}) as cohort_days,
        cast(floor(cast(experiments.cohort_days as {{ double }}) / 3) as {{ double }}) as third_of_days
        {%- for fact in facts %},
        {{ evalhouse.time_added('day', 'experiments.cohort_days', 'cast(exposed_units.first_exposed_at as date)') }}
        < experiments.{{ fact }}_incomplete_date as is_complete_in_{{ fact }}
        {%- endfor %}
    from exposed_units
    inner join experiments on exposed_units.experiment_id = experiments.experiment_id
),

active_days as (
    select
        cohort.experiment_id,
        cohort.unit_id,
        cohort.cohort_days,
        cohort.third_of_days,
        cast({{ dbt.datediff('cohort.entry_date', 'unit_days.activity_date', 'day') }} as {{ double }}) as day_number
        {%- for metric in metrics %},
        unit_days.{{ metric.numerator }} as {{ metric.name }}__value
        {%- endfor %}
    from cohort
    inner join unit_days
        on cohort.experiment_id = unit_days.experiment_id
        and cohort.unit_id = unit_days.unit_id
        and unit_days.activity_date > cohort.entry_date
),

-- A day without a row is a zero: it has no part in these sums.
unit_sums as (
    select
        experiment_id,
        unit_id
        {%- for metric in metrics %},
        sum((day_number - (cohort_days + 1) / 2) * {{ metric.name }}__value)
        * 12 / min(cohort_days * (cohort_days * cohort_days - 1)) as {{ metric.name }}__slope,
        sum(case when day_number <= third_of_days then {{ metric.name }}__value end) / min(third_of_days)
            as {{ metric.name }}__first,
        sum(case when day_number > cohort_days - third_of_days then {{ metric.name }}__value end) / min(third_of_days)
            as {{ metric.name }}__last
        {%- endfor %}
    from active_days
    where day_number <= cohort_days
    group by experiment_id, unit_id
),

unit_trends as (
    select
        cohort.experiment_id,
        cohort.variation_id,
        cohort.phase_number,
        cohort.cohort_days
        {%- for metric in metrics %}
        {%- for part in parts %},
        case when cohort.is_complete_in_{{ metric.fact }} then coalesce(unit_sums.{{ metric.name }}__{{ part }}, 0) end
            as {{ metric.name }}__{{ part }}
        {%- endfor %}
        {%- endfor %}
    from cohort
    left join unit_sums
        on cohort.experiment_id = unit_sums.experiment_id
        and cohort.unit_id = unit_sums.unit_id
),

arms as (
    select
        experiment_id,
        variation_id,
        phase_number,
        cast(max(cohort_days) as integer) as cohort_days
        {%- for metric in metrics %},
        count({{ metric.name }}__slope) as {{ metric.name }}__units
        {%- for part in parts %},
        avg({{ metric.name }}__{{ part }}) as {{ metric.name }}__mean_{{ part }},
        var_samp({{ metric.name }}__{{ part }}) as {{ metric.name }}__variance_{{ part }}
        {%- endfor %}
        {%- endfor %}
    from unit_trends
    group by experiment_id, variation_id, phase_number
)

{% for metric in metrics -%}
{{ 'union all' if not loop.first }}
select
    experiment_id,
    '{{ metric.name }}' as metric_name,
    variation_id,
    phase_number,
    cohort_days,
    cast({{ metric.name }}__units as {{ double }}) as units
    {%- for part in parts %},
    {{ metric.name }}__mean_{{ part }} as mean_{{ part }},
    {{ metric.name }}__variance_{{ part }} as variance_{{ part }}
    {%- endfor %}
from arms
where {{ metric.name }}__units > 0
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
