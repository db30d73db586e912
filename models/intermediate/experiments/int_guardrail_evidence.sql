{#-
    Anytime-valid limits of harm less margin at every look: the one-sided confidence sequence of Waudby-Smith et al.
    where arms are large, the exact one where events or units are few. The lower limit has the error of a breach (shared
    by all guardrails, variations and slices of the experiment), the upper one that of a pass. What a limit has excluded
    once stays excluded: the highest lower limit so far holds.
-#}
{%- set tuning = evalhouse.settings().analysis.sequential_tuning -%}
{%- set key = 'look_date, experiment_id, metric_name, dimension_name, dimension_value, variation_id' -%}
{%- set check = 'experiment_id, metric_name, dimension_name, dimension_value, variation_id' -%}

with guardrail_looks as (
    select * from {{ ref('evalhouse', 'int_guardrail_looks') }}
),

rare_event_bounds as (
    select * from {{ ref('evalhouse', 'int_rare_event_bounds') }}
),

scaled as (
    select
        guardrail_looks.*,
        rare_event_bounds.contrast_lower as exact_lower,
        rare_event_bounds.contrast_upper as exact_upper,
        guardrail_looks.harm - guardrail_looks.margin as contrast,
        guardrail_looks.units_control + guardrail_looks.units_treatment as units_both,
        not guardrail_looks.is_rare and guardrail_looks.contrast_variance > 0
        and guardrail_looks.units_control >= 100 and guardrail_looks.units_treatment >= 100
        and guardrail_looks.independent_units >= 200 as has_normal_limits
    from guardrail_looks
    left join rare_event_bounds
        on {{ evalhouse.joined('guardrail_looks', 'rare_event_bounds', key) }}
),

half_widths as {{ evalhouse.materialized() }} (
    select
        *,
        case
            when has_normal_limits then sqrt(contrast_variance) * {{ evalhouse.one_sided_sequence(
                'units_both', 'alpha_of_breach', tuning
            ) }}
        end as half_width_of_breach,
        case
            when has_normal_limits then sqrt(contrast_variance) * {{ evalhouse.one_sided_sequence(
                'units_both', 'alpha', tuning
            ) }}
        end as half_width_of_pass
    from scaled
),

limits as (
    select
        *,
        case when is_rare then exact_lower else contrast - half_width_of_breach end as contrast_lower,
        case when is_rare then exact_upper else contrast + half_width_of_pass end as contrast_upper
    from half_widths
)

select
    {{ key }},
    look_at,
    action,
    status_reason,
    units_control,
    units_treatment,
    harm,
    margin,
    contrast_lower,
    contrast_upper,
    max(contrast_lower) over (
        partition by {{ check }}
        order by look_date
        rows between unbounded preceding and current row
    ) as highest_contrast_lower,
    case
        when contrast_lower is not null then null
        when status_reason is not null and difference_variance is null then status_reason
        when units_control < 100 or units_treatment < 100 then 'fewer_than_100_units_for_sequential'
        when is_clustered and independent_units < 200 then 'fewer_than_200_clusters_for_sequential'
        else 'zero_variance'
    end as reason
from limits
