{%- set string = dbt.type_string() -%}
{%- set double = evalhouse.type_double() -%}
{%- set check = 'experiment_id, metric_name, dimension_name, dimension_value, variation_id' -%}

with evidence as (
    select * from {{ ref('evalhouse', 'int_guardrail_evidence') }}
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

-- The newest data say which checks there are, complete days what they show.
wanted as (
    select * from evidence
    where look_date = {{ evalhouse.current_look() }}
),

daily as (
    select
        *,
        row_number() over (partition by {{ check }} order by look_date desc) as days_back
    from evidence
    where look_date <> {{ evalhouse.current_look() }}
),

newest as (
    select * from daily
    where days_back = 1
),

breaches as (
    select
        {{ check }},
        min(look_at) as first_breach_at
    from daily
    where contrast_lower > 0
    group by {{ check }}
),

-- A breach stays one when the data end, with the numbers of the last day that had any.
last_known as (
    select
        *,
        row_number() over (partition by {{ check }} order by look_date desc) as known_days_back
    from daily
    where contrast_lower is not null
),

judged as (
    select
        wanted.experiment_id,
        wanted.variation_id,
        wanted.metric_name,
        wanted.dimension_name,
        wanted.dimension_value,
        wanted.action,
        coalesce(newest.look_at, wanted.look_at) as look_at,
        case when breaches.first_breach_at is not null then last_known.margin else newest.margin end as margin,
        case when breaches.first_breach_at is not null then last_known.harm else newest.harm end as harm,
        last_known.highest_contrast_lower,
        newest.contrast_lower,
        newest.contrast_upper,
        newest.units_control,
        newest.units_treatment,
        breaches.first_breach_at,
        case
            when breaches.first_breach_at is not null then 'breach'
            when newest.contrast_lower is null then 'no_data'
            when newest.contrast_upper < 0 then 'pass'
            else 'inconclusive'
        end as state,
        case
            when newest.experiment_id is null then 'no_complete_day'
            else newest.reason
        end as missing_reason
    from wanted
    left join newest
        on {{ evalhouse.joined('wanted', 'newest', check) }}
    left join breaches
        on {{ evalhouse.joined('wanted', 'breaches', check) }}
    left join last_known
        on {{ evalhouse.joined('wanted', 'last_known', check) }}
        and last_known.known_days_back = 1
)

select
    cast(judged.experiment_id as {{ string }}) as experiment_id,
    cast(judged.variation_id as {{ string }}) as variation_id,
    cast(judged.metric_name as {{ string }}) as metric_name,
    cast(judged.dimension_name as {{ string }}) as slice_name,
    cast(judged.dimension_value as {{ string }}) as slice_value,
    cast(judged.margin as {{ double }}) as margin,
    -- Plus zero: minus nothing is nothing.
    cast(judged.harm + 0 as {{ double }}) as effect,
    cast(case when judged.state <> 'no_data' then judged.margin + judged.highest_contrast_lower end as {{ double }})
        as bound,
    cast(judged.state as {{ string }}) as state,
    cast(case when judged.state = 'breach' then judged.action else 'none' end as {{ string }}) as action,
    judged.first_breach_at,
    cast(case
        when judged.state = 'breach' then 'harm_above_margin'
        when judged.state = 'pass' then 'harm_below_margin'
        when judged.state = 'inconclusive' then 'margin_within_limits'
        else judged.missing_reason
    end as {{ string }}) as reason,
    cast(case when judged.contrast_lower is not null then judged.margin + judged.contrast_upper end as {{ double }})
        as upper_bound,
    cast(coalesce(judged.units_control, 0) as {{ dbt.type_bigint() }}) as units_control,
    cast(coalesce(judged.units_treatment, 0) as {{ dbt.type_bigint() }}) as units_treatment,
    judged.look_at,
    experiments.as_of_at,
    cast(experiments.data_state as {{ string }}) as data_state
from judged
inner join experiments on judged.experiment_id = experiments.experiment_id
