{#-
    Which signal tells a good answer from a bad one, where people have said or tasks have shown which it was. The area
    under the ROC curve and the lift, both with errors clustered by unit (Obuchowski 1997: placements summed by unit).
-#}
{%- set key = 'label_source, label_name, signal_name, dimension_name, dimension_value' -%}
{%- set double = evalhouse.type_double() -%}
{%- set fewest_units = 30 -%}
{%- set fewest_units_of_a_kind = 5 %}

with unit_signals as (
    select * from {{ ref('evalhouse', 'int_labelled_unit_signals') }}
),

totals as {{ evalhouse.materialized() }} (
    select
        {{ key }},
        min(signal_kind) as signal_kind,
        cast(count(*) as {{ double }}) as units,
        sum(positives) as positives,
        sum(negatives) as negatives,
        sum(turns_with) as turns_with,
        sum(labels) as labels,
        sum(labels_with) as labels_with,
        sum(positive_placements) / nullif(sum(positives), 0) as auc,
        count(case when positives > 0 then 1 end) as units_positive,
        count(case when negatives > 0 then 1 end) as units_negative,
        count(case when turns_with > 0 then 1 end) as units_with,
        count(case when positives + negatives - turns_with > 0 then 1 end) as units_without
    from unit_signals
    group by {{ key }}
),

described as (
    select
        *,
        positives + negatives as turns,
        labels_with / nullif(turns_with, 0) as mean_with,
        (labels - labels_with) / nullif(positives + negatives - turns_with, 0) as mean_without
    from totals
),

influences as (
    select
        {{ evalhouse.qualified('unit_signals', key) }},
        (unit_signals.positive_placements - described.auc * unit_signals.positives) / nullif(described.positives, 0)
        + (unit_signals.negative_placements - described.auc * unit_signals.negatives) / nullif(described.negatives, 0)
            as on_auc,
        (unit_signals.labels_with - described.mean_with * unit_signals.turns_with) / nullif(described.turns_with, 0)
        - (
            unit_signals.labels - unit_signals.labels_with
            - described.mean_without * (unit_signals.positives + unit_signals.negatives - unit_signals.turns_with)
        ) / nullif(described.turns - described.turns_with, 0) as on_lift
    from unit_signals
    inner join described on {{ evalhouse.joined('unit_signals', 'described', key) }}
),

errors as {{ evalhouse.materialized() }} (
    select
        {{ key }},
        sum(on_auc * on_auc) as auc_squares,
        sum(on_lift * on_lift) as lift_squares
    from influences
    group by {{ key }}
),

-- The scarcest kind of unit tells how much the error itself can be trusted.
judged as {{ evalhouse.materialized() }} (
    select
        described.*,
        case when described.units > 1 then sqrt(described.units / (described.units - 1) * errors.auc_squares) end
            as auc_error,
        case when described.units > 1 then sqrt(described.units / (described.units - 1) * errors.lift_squares) end
            as lift_error,
        case
            when described.signal_kind = 'number' or described.units_with > described.units_without
                then case
                    when described.signal_kind = 'flag' and described.units_without < described.units_positive
                        and described.units_without < described.units_negative then described.units_without
                    when described.units_positive < described.units_negative then described.units_positive
                    else described.units_negative
                end
            when described.units_with < described.units_positive and described.units_with < described.units_negative
                then described.units_with
            when described.units_positive < described.units_negative then described.units_positive
            else described.units_negative
        end as scarcest_units,
        cast({{ evalhouse.settings().analysis.alpha / 2 }} as {{ double }}) as tail
    from described
    inner join errors on {{ evalhouse.joined('described', 'errors', key) }}
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
    refused.labels / refused.turns as label_mean,
    refused.mean_with as label_mean_with_signal,
    refused.mean_without as label_mean_without_signal,
    case when refused.refused_because is null then refused.mean_with - refused.mean_without end as lift,
    refused.mean_with - refused.mean_without - adjusted.critical_value * refused.lift_error as lift_ci_lower,
    refused.mean_with - refused.mean_without + adjusted.critical_value * refused.lift_error as lift_ci_upper,
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
