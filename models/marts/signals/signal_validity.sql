{#-
    Which signal tells a good answer from a bad one, where people have said or tasks have shown which it was. The area
    under the ROC curve and the lift, both with errors clustered by unit (Obuchowski 1997: placements summed by unit).
-#}
{%- set key = 'label_source, label_name, signal_name, dimension_name, dimension_value' -%}
{%- set double = evalhouse.type_double() -%}
{%- set fewest_units = 30 -%}
{%- set fewest_units_of_a_kind = 5 %}

with flags as (
    select * from {{ ref('evalhouse', 'int_labelled_flags') }}
),

numbers as (
    select * from {{ ref('evalhouse', 'int_labelled_numbers') }}
),

-- Numbers have neither slices nor turns with and without.
described as (
    select
        {{ key }},
        'flag' as signal_kind,
        units,
        positives,
        negatives,
        turns_with,
        units_positive,
        units_negative,
        units_with,
        units_without,
        auc,
        auc_squares,
        label_mean,
        mean_with,
        mean_without,
        lift,
        lift_squares
    from flags

    union all

    select
        label_source,
        label_name,
        signal_name,
        'all' as dimension_name,
        'all' as dimension_value,
        'number' as signal_kind,
        units,
        positives,
        negatives,
        cast(null as {{ double }}) as turns_with,
        units_positive,
        units_negative,
        cast(null as {{ dbt.type_bigint() }}) as units_with,
        cast(null as {{ dbt.type_bigint() }}) as units_without,
        auc,
        auc_squares,
        label_mean,
        cast(null as {{ double }}) as mean_with,
        cast(null as {{ double }}) as mean_without,
        cast(null as {{ double }}) as lift,
        cast(null as {{ double }}) as lift_squares
    from numbers
),

-- The scarcest kind of unit tells how much the error itself can be trusted.
judged as {{ evalhouse.materialized() }} (
    select
        *,
        positives + negatives as turns,
        case when units > 1 then sqrt(units / (units - 1) * auc_squares) end as auc_error,
        case when units > 1 then sqrt(units / (units - 1) * lift_squares) end as lift_error,
        case
            when signal_kind = 'number' or units_with > units_without
                then case
                    when signal_kind = 'flag' and units_without < units_positive
                        and units_without < units_negative then units_without
                    when units_positive < units_negative then units_positive
                    else units_negative
                end
            when units_with < units_positive and units_with < units_negative
                then units_with
            when units_positive < units_negative then units_positive
            else units_negative
        end as scarcest_units,
        cast({{ evalhouse.settings().analysis.alpha / 2 }} as {{ double }}) as tail
    from described
),

refused as {{ evalhouse.materialized() }} (
    select
        *,
        case
            -- What is counted by the label itself says nothing about it.
            when label_source = 'outcome' and label_name = 'task_complete' and signal_name like 'abandonment%'
                then 'signal_uses_the_label'
            when label_source = 'outcome' and label_name = 'rating' and signal_name = 'feedback_response'
                then 'signal_uses_the_label'
            when units < {{ fewest_units }} then 'fewer_than_{{ fewest_units }}_units'
            when positives = 0 or negatives = 0 then 'one_class_only'
            when signal_kind = 'flag' and (turns_with = 0 or turns_with = turns) then 'signal_does_not_vary'
            when scarcest_units < {{ fewest_units_of_a_kind }}
                then 'fewer_than_{{ fewest_units_of_a_kind }}_units_of_a_kind'
            when auc_error > 0 and auc > 0 and auc < 1 then null
            else 'zero_variance'
        end as refused_because
    from judged
),

scored as {{ evalhouse.materialized() }} (
    select
        *,
        cast(scarcest_units - 1 as {{ double }}) as degrees_of_freedom,
        (auc - 0.5) / auc_error as t_statistic
    from refused
    where refused_because is null
),

{{ evalhouse.critical_value_steps('scored') }},

tested as {{ evalhouse.materialized() }} (
    select
        *,
        {{ evalhouse.student_t_two_sided_p('t_statistic', 'degrees_of_freedom') }} as p_value
    from refined_twice
),

-- Benjamini and Hochberg over the signals and values of a label and dimension.
ordered as (
    select
        *,
        row_number() over (
            partition by label_source, label_name, dimension_name
            order by p_value nulls last, signal_name, dimension_value
        ) as place,
        count(*) over (partition by label_source, label_name, dimension_name) as tests,
        -- On the scale of log odds an interval of the area stays within 0 and 1.
        ln(auc / (1 - auc)) as log_odds,
        critical_value * auc_error / (auc * (1 - auc)) as log_odds_half_width
    from tested
),

adjusted as (
    select
        *,
        min(p_value * tests / place) over (
            partition by label_source, label_name, dimension_name order by place desc
            rows between unbounded preceding and current row
        ) as least_adjusted
    from ordered
)

select
    {{ evalhouse.qualified('refused', key) }},
    refused.signal_kind,
    cast(refused.turns as {{ dbt.type_bigint() }}) as turns,
    cast(refused.units as {{ dbt.type_bigint() }}) as units,
    cast(refused.positives as {{ dbt.type_bigint() }}) as positives,
    cast(refused.turns_with as {{ dbt.type_bigint() }}) as turns_with_signal,
    case when refused.refused_because is null then refused.auc end as auc,
    1 / (1 + {{ evalhouse.exp_safe('log_odds_half_width - log_odds') }}) as auc_ci_lower,
    1 / (1 + {{ evalhouse.exp_safe('-log_odds - log_odds_half_width') }}) as auc_ci_upper,
    refused.label_mean,
    refused.mean_with as label_mean_with_signal,
    refused.mean_without as label_mean_without_signal,
    case when refused.refused_because is null then refused.lift end as lift,
    refused.lift - adjusted.critical_value * refused.lift_error as lift_ci_lower,
    refused.lift + adjusted.critical_value * refused.lift_error as lift_ci_upper,
    adjusted.p_value,
    case when adjusted.least_adjusted > 1 then cast(1 as {{ double }}) else adjusted.least_adjusted end
        as p_value_adjusted,
    case
        when refused.refused_because is null then 'ok'
        when refused.refused_because = 'signal_uses_the_label' then 'refused'
        else 'insufficient'
    end as status,
    refused.refused_because as status_reason
from refused
left join adjusted on {{ evalhouse.joined('refused', 'adjusted', key) }}
