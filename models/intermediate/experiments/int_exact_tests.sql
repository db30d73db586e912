{#-
    Fisher's exact test for shares of units where an arm has few events or few non-events. The rarer of the two is
    counted in the arm that has fewer of it, so that the sums below are short: given the margins, that count is
    hypergeometric. p is twice the smaller tail. The interval is Newcombe's, from Wilson bounds of each arm (difference,
    and by the same variance recovery ratio), widened to include no effect where the exact test does not reject it.
    The anytime-valid p comes from the beta-binomial e-value of the events' split between the arms.
-#}
{%- set key = 'look_date, experiment_id, metric_name, dimension_name, dimension_value, variation_id' -%}

with comparisons as (
    select * from {{ ref('evalhouse', 'int_comparisons') }}
),

metrics as (
    select * from {{ ref('evalhouse', 'dim_metrics') }}
),

experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

numbers as (
    select cast(n as {{ evalhouse.type_double() }}) as n
    from {{ ref('evalhouse', 'numbers') }}
),

counts as (
    select
        {{ evalhouse.qualified('comparisons', key) }},
        experiments.alpha,
        comparisons.units_control,
        comparisons.units_treatment,
        comparisons.value_control,
        comparisons.value_treatment,
        round(comparisons.value_control * comparisons.units_control) as events_control,
        round(comparisons.value_treatment * comparisons.units_treatment) as events_treatment
    from comparisons
    inner join metrics on comparisons.metric_name = metrics.metric_name
    inner join experiments on comparisons.experiment_id = experiments.experiment_id
    where
        metrics.metric_type in ('proportion', 'retention', 'funnel')
        and comparisons.phases = 1
        and not comparisons.is_clustered
),

counted_by_rarer as (
    select
        *,
        case
            when least(events_control, events_treatment)
                <= least(units_control - events_control, units_treatment - events_treatment)
                then events_control
            else units_control - events_control
        end as rare_control,
        case
            when least(events_control, events_treatment)
                <= least(units_control - events_control, units_treatment - events_treatment)
                then events_treatment
            else units_treatment - events_treatment
        end as rare_treatment
    from counts
),

few_events as {{ evalhouse.materialized() }} (
    select
        *,
        least(rare_control, rare_treatment) as observed,
        rare_control + rare_treatment as rare_both,
        units_control + units_treatment - rare_control - rare_treatment as others_both,
        case when rare_control <= rare_treatment then units_control else units_treatment end as draws
    from counted_by_rarer
    where least(rare_control, rare_treatment) < 30
),

tables as {{ evalhouse.materialized() }} (
    select
        {{ evalhouse.qualified('few_events', key) }},
        few_events.observed,
        numbers.n as events,
        {{ evalhouse.ln_hypergeometric_pmf(
            'numbers.n', 'few_events.rare_both', 'few_events.others_both', 'few_events.draws'
        ) }} as ln_probability
    from few_events
    inner join numbers
        on numbers.n <= few_events.draws
        and numbers.n <= few_events.rare_both
        and numbers.n >= few_events.draws - few_events.others_both
),

-- Both tails are summed relative to the observed table, so that neither underflows.
observed_tables as (
    select
        {{ key }},
        ln_probability as ln_observed
    from tables
    where events = observed
),

relative_tables as (
    select
        tables.*,
        observed_tables.ln_observed,
        {{ evalhouse.exp_safe('(tables.ln_probability - observed_tables.ln_observed)') }} as relative_probability
    from tables
    inner join observed_tables
        on {{ evalhouse.joined('tables', 'observed_tables', key) }}
),

tails as {{ evalhouse.materialized() }} (
    select
        {{ key }},
        min(ln_observed) as ln_observed,
        sum(case when events <= observed then relative_probability else 0 end) as lower_tail,
        sum(case when events >= observed then relative_probability else 0 end) as upper_tail
    from relative_tables
    group by {{ key }}
),

tested as {{ evalhouse.materialized() }} (
    select
        few_events.*,
        {{ evalhouse.exp_safe('(ln_observed + ln(2 * least(lower_tail, upper_tail)))') }} as twice_smaller_tail,
        {{ evalhouse.normal_quantile('(1 - alpha / 2)') }} as z,
        {{ evalhouse.ln_gamma('(rare_treatment + 0.5)') }} + {{ evalhouse.ln_gamma('(rare_control + 0.5)') }}
        - {{ evalhouse.ln_gamma('(rare_both + 1.0)') }} - ln(3.14159265358979324)
        - rare_treatment * ln(units_treatment / (units_control + units_treatment))
        - rare_control * ln(units_control / (units_control + units_treatment)) as ln_e_value
    from few_events
    inner join tails
        on {{ evalhouse.joined('few_events', 'tails', key) }}
),

bounds as {{ evalhouse.materialized() }} (
    select
        *,
        case when twice_smaller_tail > 1 then 1 else twice_smaller_tail end as p_value,
        case when ln_e_value <= 0 then 1 else {{ evalhouse.exp_safe('(-ln_e_value)') }} end as sequential_p_value,
        {{ evalhouse.wilson_bound('value_control', 'units_control', 'z', '-') }} as lower_control,
        {{ evalhouse.wilson_bound('value_control', 'units_control', 'z', '+') }} as upper_control,
        {{ evalhouse.wilson_bound('value_treatment', 'units_treatment', 'z', '-') }} as lower_treatment,
        {{ evalhouse.wilson_bound('value_treatment', 'units_treatment', 'z', '+') }} as upper_treatment
    from tested
),

intervals as {{ evalhouse.materialized() }} (
    select
        *,
        value_treatment - value_control - sqrt(
            (value_treatment - lower_treatment) * (value_treatment - lower_treatment)
            + (upper_control - value_control) * (upper_control - value_control)
        ) as ci_lower,
        value_treatment - value_control + sqrt(
            (upper_treatment - value_treatment) * (upper_treatment - value_treatment)
            + (value_control - lower_control) * (value_control - lower_control)
        ) as ci_upper,
        lower_treatment * (2 * value_treatment - lower_treatment) / nullif(
            value_control * value_treatment + sqrt(greatest(
                value_control * value_control * value_treatment * value_treatment
                - lower_treatment * upper_control * (2 * value_treatment - lower_treatment)
                * (2 * value_control - upper_control), 0
            )), 0
        ) - 1 as ratio_lower,
        (
            value_control * value_treatment + sqrt(greatest(
                value_control * value_control * value_treatment * value_treatment
                - upper_treatment * lower_control * (2 * value_treatment - upper_treatment)
                * (2 * value_control - lower_control), 0
            ))
        ) / nullif(lower_control * (2 * value_control - lower_control), 0) - 1 as ratio_upper
    from bounds
)

select
    {{ key }},
    p_value,
    sequential_p_value,
    -- One test for the p-value and the intervals: no effect is inside exactly when it is not rejected.
    {{ evalhouse.interval_of_test('ci_lower', 'lower', 'value_treatment > value_control') }} as ci_lower_absolute,
    {{ evalhouse.interval_of_test('ci_upper', 'upper', 'value_treatment < value_control') }} as ci_upper_absolute,
    case
        when value_treatment = 0 then -1
        else {{ evalhouse.interval_of_test('ratio_lower', 'lower', 'value_treatment > value_control') }}
    end as ci_lower_relative,
    {{ evalhouse.interval_of_test('ratio_upper', 'upper', 'value_treatment < value_control') }} as ci_upper_relative,
    -- A plain variance of zero would promise to detect anything: one event more in each arm keeps the MDE honest.
    (events_control + 1) * (units_control - events_control + 1)
    / ((units_control + 2) * (units_control + 2) * (units_control + 2))
    + (events_treatment + 1) * (units_treatment - events_treatment + 1)
    / ((units_treatment + 2) * (units_treatment + 2) * (units_treatment + 2)) as planning_variance
from intervals
