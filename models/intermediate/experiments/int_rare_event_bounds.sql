{#-
    Anytime-valid limits of the harm where an arm has few events or few units and no normal approximation holds. Each
    arm's share has a confidence sequence of its own, the shares that a beta-binomial mixture does not reject: it holds
    at every look and from zero events on. The limit of the contrast puts the arms' limits together, so the arms (and
    the phases of a ramp) share the error. `lower` is the limit that has to exceed zero for a breach, `upper` the one
    that has to stay below it for a pass.
-#}
{%- set key = 'look_date, experiment_id, metric_name, dimension_name, dimension_value, variation_id' -%}

with guardrail_looks as (
    select * from {{ ref('evalhouse', 'int_guardrail_looks') }}
    where is_rare
),

arm_estimates as (
    select * from {{ ref('evalhouse', 'int_arm_estimates') }}
),

phase_comparisons as (
    select
        *,
        information / sum(information) over (partition by {{ key }}) as phase_weight
    from {{ ref('evalhouse', 'int_phase_comparisons') }}
),

arms as (
    select
        {{ evalhouse.qualified('guardrail_looks', key) }},
        guardrail_looks.harm_sign,
        guardrail_looks.margin_slope,
        guardrail_looks.margin_absolute,
        guardrail_looks.alpha,
        guardrail_looks.alpha_of_breach,
        guardrail_looks.phases,
        phase_comparisons.phase_number,
        phase_comparisons.phase_weight,
        arm_estimates.variation_id = guardrail_looks.control_variation_id as is_control,
        cast(arm_estimates.units as {{ evalhouse.type_double() }}) as units,
        round(arm_estimates.metric_value * arm_estimates.units) as events
    from guardrail_looks
    inner join phase_comparisons
        on {{ evalhouse.joined('guardrail_looks', 'phase_comparisons', key) }}
    inner join arm_estimates
        on guardrail_looks.look_date = arm_estimates.look_date
        and guardrail_looks.experiment_id = arm_estimates.experiment_id
        and guardrail_looks.metric_name = arm_estimates.metric_name
        and guardrail_looks.dimension_name = arm_estimates.dimension_name
        and guardrail_looks.dimension_value = arm_estimates.dimension_value
        and phase_comparisons.phase_number = arm_estimates.phase_number
        and arm_estimates.variation_id in (guardrail_looks.control_variation_id, guardrail_looks.variation_id)
),

-- A breach needs the arm that is worse from below and the other from above; a pass the other way round.
limits as (
    select
        *,
        'lower' as limit_of_contrast,
        alpha_of_breach / (2 * phases) as error,
        is_control = (harm_sign = 1) as is_upper
    from arms

    union all

    select
        *,
        'upper' as limit_of_contrast,
        alpha / (2 * phases) as error,
        is_control <> (harm_sign = 1) as is_upper
    from arms
),

-- A lower limit of the events is an upper limit of the rest.
counts as (
    select
        *,
        case when is_upper then events else units - events end as counted,
        case when is_upper then units - events else events end as others
    from limits
),

shares as {{ evalhouse.materialized() }} (
    select
        *,
        counted / units as share,
        ln(3.14159265358979324e0 / error) + {{ evalhouse.ln_gamma('(units + 1.0)') }}
        - {{ evalhouse.ln_gamma('(counted + 0.5)') }} - {{ evalhouse.ln_gamma('(others + 0.5)') }}
        + case when counted > 0 then counted * ln(counted / units) else 0 end
        + case when others > 0 then others * ln(others / units) else 0 end as scaled_entropy
    from counts
),

entropies as {{ evalhouse.materialized() }} (
    select
        *,
        scaled_entropy / units as entropy,
        case when counted > 0 and others > 0 then share end as inner_share
    from shares
),

guessed as {{ evalhouse.materialized() }} (
    select
        *,
        {{ evalhouse.bernoulli_upper_bound_guess('inner_share', 'entropy') }} as log_odds_0
    from entropies
),

{% for step in range(1, 5) -%}
refined_{{ step }} as {{ evalhouse.materialized() }} (
    select
        *,
        {{ evalhouse.bernoulli_upper_bound_refine('log_odds_' ~ (step - 1), 'inner_share', 'entropy') }}
            as log_odds_{{ step }}
    from {{ 'guessed' if step == 1 else 'refined_' ~ (step - 1) }}
),

{% endfor -%}
bounded as (
    select
        *,
        case
            when others = 0 then 1
            when counted = 0 then 1 - {{ evalhouse.exp_safe('(-entropy)') }}
            else 1 / (1 + exp(-log_odds_4))
        end as upper_share
    from refined_4
),

contrasts as (
    select
        *,
        case when is_upper then upper_share else 1 - upper_share end
        * case
            when not is_control then harm_sign
            -- Of the control, the margin takes its part; more than the whole of it can never be lost.
            when harm_sign = -1 and margin_slope > 1 then 0
            else -(harm_sign + margin_slope)
        end as part_of_contrast
    from bounded
)

select
    {{ key }},
    sum(case when limit_of_contrast = 'lower' then phase_weight * part_of_contrast end)
    - coalesce(max(margin_absolute), 0)
        as contrast_lower,
    sum(case when limit_of_contrast = 'upper' then phase_weight * part_of_contrast end)
    - coalesce(max(margin_absolute), 0)
        as contrast_upper
from contrasts
group by {{ key }}
