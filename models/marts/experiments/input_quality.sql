{#- What staging and the joins after it dropped or repaired, one row per input and rule. Every rule has a row, also when
    nothing broke it: an absent count would look like an absent check. -#}
{%- set late = 'came when no run reached back to its day: not in results by day before a full refresh' -%}
{%- set rules = [
    ('exposures', 'missing_key', 'dropped', 'experiment, variation, unit or time is null, blank or unreadable'),
    ('exposures', 'after_load', 'dropped', 'more than a day later than its own load: a clock fault'),
    ('exposures', 'after_as_of', 'dropped', 'later than analysis.as_of'),
    ('exposures', 'shadow', 'dropped', 'a shadow exposure: the unit saw nothing'),
    ('exposures', 'held_out', 'dropped', 'a holdout exposure outside a holdout experiment'),
    ('exposures', 'unknown_exposure_kind', 'dropped', 'exposure_kind is none of served, shadow, holdout'),
    ('exposures', 'unknown_variation', 'dropped', 'the registry lists variations of the experiment, but not this one'),
    ('exposures', 'outside_experiment', 'dropped', 'before the registered start or after the registered end'),
    ('exposures', 'repeat_exposure', 'repaired', 'a later exposure of a unit, folded into its first'),
    ('exposures', 'several_variations', 'dropped', 'the unit was exposed to several variations of the experiment'),
    ('exposures', 'missing_cluster', 'dropped', 'the experiment has clusters, the unit has none'),
    ('exposures', 'later_than_lookback', 'dropped', late),
    ('outcomes', 'missing_key', 'dropped', 'outcome, unit, event name or time is null, blank or unreadable'),
    ('outcomes', 'after_load', 'dropped', 'more than a day later than its own load: a clock fault'),
    ('outcomes', 'after_as_of', 'dropped', 'later than analysis.as_of'),
    ('outcomes', 'duplicate', 'dropped', 'outcome_id seen before: the latest load is kept'),
    ('outcomes', 'unusable_value', 'repaired', 'value is no number between -1e35 and 1e35: set to null'),
    ('outcomes', 'before_exposure', 'dropped', 'before the unit met any experiment: at most a covariate'),
    ('outcomes', 'unit_never_exposed', 'dropped', 'the unit is in no experiment'),
    ('outcomes', 'later_than_lookback', 'dropped', late),
    ('experiments', 'missing_key', 'dropped', 'experiment_id is null or blank'),
    ('experiments', 'duplicate', 'dropped', 'experiment_id seen before: the latest registration is kept'),
    ('experiments', 'end_before_start', 'repaired', 'ended_at before started_at: taken as not ended'),
    ('experiments', 'unreadable_date', 'repaired', 'started_at or ended_at is no date: taken as not given'),
    ('experiments', 'impossible_alpha', 'repaired', 'alpha outside (0, 0.5): the configured alpha is used'),
    ('experiments', 'unknown_control', 'repaired', 'control_variation_id is no variation of it: the default is used'),
    ('experiment_variations', 'missing_key', 'dropped', 'experiment or variation is null or blank'),
    ('experiment_variations', 'duplicate', 'dropped', 'variation seen before: the greater weight is kept'),
    ('experiment_variations', 'impossible_weight', 'repaired', 'expected_weight is no weight: the split is equal'),
    ('experiment_phases', 'missing_key', 'dropped', 'experiment, variation or start is null, blank or unreadable'),
    ('experiment_phases', 'duplicate', 'dropped', 'phase and variation seen before: the greater weight is kept'),
    ('experiment_phases', 'impossible_weight', 'dropped', 'expected_weight is negative or no number'),
    ('traces', 'missing_key', 'dropped', 'trace, unit or start is null, blank or unreadable'),
    ('traces', 'after_load', 'dropped', 'started more than a day later than its own load: a clock fault'),
    ('traces', 'after_as_of', 'dropped', 'later than analysis.as_of'),
    ('traces', 'duplicate', 'dropped', 'trace_id seen before: the latest load is kept'),
    ('traces', 'shadow', 'dropped', 'a shadow trace: nobody saw its answer; kept apart from turns'),
    ('traces', 'end_before_start', 'repaired', 'ended before it started: the end is what latency_ms says, or unknown'),
    ('traces', 'implausible_end', 'repaired', 'took more than six hours: the end is what latency_ms says, or unknown'),
    ('traces', 'latency_in_seconds', 'repaired', 'the clocks say a thousand times latency_ms: taken as seconds'),
    ('traces', 'implausible_latency', 'repaired', 'latency_ms negative, above six hours or no number: from the clocks'),
    ('traces', 'negative_amount', 'repaired', 'a negative length, token count, cost or ttft_ms: set to null'),
    ('traces', 'unknown_status', 'repaired', 'status is no word known for one: from error_type and finish_reason'),
    ('traces', 'impossible_weight', 'repaired', 'sample_weight is not above 0: taken as 1'),
    ('traces', 'later_than_lookback', 'dropped', late),
    ('traces', 'unanswered', 'repaired', 'ok, but no end, latency or output is logged: nobody walked away from it'),
    ('evaluation_scores', 'missing_key', 'dropped', 'score, stage, evaluator, metric or time is null or unreadable'),
    ('evaluation_scores', 'unknown_stage', 'dropped', 'stage is none of offline, shadow, online'),
    ('evaluation_scores', 'unknown_evaluator_kind', 'dropped', 'evaluator_kind is none of human, llm_judge, code'),
    ('evaluation_scores', 'after_as_of', 'dropped', 'later than analysis.as_of'),
    ('evaluation_scores', 'duplicate', 'dropped', 'score_id seen before: the latest evaluation is kept'),
    ('evaluation_scores', 'failed_evaluation', 'repaired', 'error is given: there is no score, least of all zero'),
    ('evaluation_scores', 'unusable_score', 'repaired', 'score is no number between -1e35 and 1e35: set to null'),
    ('evaluation_scores', 'impossible_probability', 'repaired', 'sampling_probability outside (0, 1]: set to null')
] -%}
{#- Inputs of which rows are kept by day, each id once. -#}
{%- set kept_inputs = {'outcomes': 'outcome_id'} -%}
{#- What staging repaired in traces and evaluation scores, and the condition. -#}
{%- set repairs = {} -%}
{%- if evalhouse.has_input('traces') -%}
    {%- do kept_inputs.update({'traces': 'trace_id'}) -%}
    {%- do repairs.update({'traces': {
        'shadow': 'is_shadow', 'end_before_start': "clock_fault = 'end_before_start'",
        'implausible_end': "clock_fault = 'implausible_end'", 'latency_in_seconds': 'is_latency_in_seconds',
        'implausible_latency': 'has_implausible_latency', 'negative_amount': 'has_negative_amount',
        'unknown_status': 'has_unknown_status', 'impossible_weight': 'has_impossible_weight',
        'unanswered': "status = 'ok' and not is_answered"
    }}) -%}
{%- endif -%}
{%- if evalhouse.has_input('evaluation_scores') -%}
    {%- do repairs.update({'evaluation_scores': {
        'failed_evaluation': 'has_error', 'unusable_score': 'has_unusable_score',
        'impossible_probability': 'has_impossible_probability'
    }}) -%}
{%- endif -%}
{%- set own_facts = evalhouse.metric_plan().facts | reject('in', ['outcomes', 'turns', 'sessions']) | list -%}
{%- for fact in own_facts -%}
    {%- do rules.append((fact, 'missing_key', 'dropped', 'unit or time is null, blank or unreadable')) -%}
    {%- do rules.append((fact, 'later_than_lookback', 'dropped', late)) -%}
{%- endfor -%}

with exposures as (
    select * from {{ ref('evalhouse', 'stg_exposures') }}
),

exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
),

entered_units as (
    select * from {{ ref('evalhouse', 'int_unit_baselines') }}
    where unit_id <> ''
),

{%- for input_name, id in kept_inputs.items() %}

staged_{{ input_name }} as (
    select * from {{ ref('evalhouse', 'stg_' ~ input_name) }}
),

{{ input_name }} as (
    select * from {{ ref('evalhouse', 'int_' ~ input_name) }}
    where {{ id }} <> ''
),

accepted_{{ input_name }} as (
    select
        count(*) as accepted,
        count(distinct {{ id }}) as distinct_ids
    from staged_{{ input_name }}
    where rejected_by is null
),
{%- endfor %}
{%- if evalhouse.has_input('evaluation_scores') %}

staged_evaluation_scores as (
    select * from {{ ref('evalhouse', 'stg_evaluation_scores') }}
),

kept_evaluation_scores as (
    select count(*) as kept from {{ ref('evalhouse', 'int_evaluation_scores') }}
),
{%- endif %}

experiments as (
    select * from {{ ref('evalhouse', 'stg_experiments') }}
),

analysed_experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

experiment_variations as (
    select * from {{ ref('evalhouse', 'stg_experiment_variations') }}
),

experiment_phases as (
    select * from {{ ref('evalhouse', 'stg_experiment_phases') }}
),

{%- for input_name, conditions in repairs.items() %}

noticed_{{ input_name }} as (
    select
        count(*) as accepted,
        {%- for rule, condition in conditions.items() %}
        sum(case when {{ condition }} then 1 else 0 end) as {{ rule }}{{ ',' if not loop.last }}
        {%- endfor %}
    from staged_{{ input_name }}
    where rejected_by is null
),
{%- endfor %}

source_days as (
    {{ evalhouse.source_days() | indent(4) }}
),

days_read as (
    select * from {{ ref('evalhouse', 'int_source_days') }}
),

first_met as (
    select
        unit_id,
        min(first_exposed_at) as first_exposed_at
    from exposed_units
    group by unit_id
),

rejected as (
    select
        'exposures' as input_name,
        coalesce(rejected_by, 'accepted') as rule,
        count(*) as matching_rows
    from exposures
    group by rejected_by

    union all

    select
        'outcomes' as input_name,
        coalesce(rejected_by, 'accepted') as rule,
        count(*) as matching_rows
    from staged_outcomes
    group by rejected_by

    union all

    select
        'experiments' as input_name,
        coalesce(rejected_by, 'accepted') as rule,
        count(*) as matching_rows
    from experiments
    group by rejected_by

    union all

    select
        'experiment_variations' as input_name,
        coalesce(rejected_by, 'accepted') as rule,
        count(*) as matching_rows
    from experiment_variations
    group by rejected_by

    union all

    select
        'experiment_phases' as input_name,
        coalesce(rejected_by, 'accepted') as rule,
        count(*) as matching_rows
    from experiment_phases
    group by rejected_by
    {%- for input_name in repairs %}

    union all

    select
        '{{ input_name }}' as input_name,
        coalesce(rejected_by, 'accepted') as rule,
        count(*) as matching_rows
    from staged_{{ input_name }}
    group by rejected_by
    {%- endfor %}
    {%- for fact in own_facts %}
    {%- set spec = evalhouse.fact_spec(fact) %}

    union all

    select
        '{{ fact }}' as input_name,
        case when {{ spec.unit }} is null or {{ spec.time }} is null then 'missing_key' else 'accepted' end as rule,
        count(*) as matching_rows
    from {{ spec.relation }}
    group by case when {{ spec.unit }} is null or {{ spec.time }} is null then 'missing_key' else 'accepted' end
    {%- endfor %}
),

-- Units whose first exposure came too late to enter on its day, unless the experiment was made anew since.
entries as (
    select
        experiment_id,
        entry_date,
        sum(units_exposed) as units_exposed,
        sum(units_entered) as units_entered
    from (
        select
            experiment_id,
            cast(first_exposed_at as date) as entry_date,
            count(*) as units_exposed,
            0 as units_entered
        from exposed_units
        group by experiment_id, cast(first_exposed_at as date)

        union all

        select
            experiment_id,
            entry_date,
            0 as units_exposed,
            count(*) as units_entered
        from entered_units
        group by experiment_id, entry_date
    ) as counted
    group by experiment_id, entry_date
),

rows_seen as (
    select
        input_name,
        sum(matching_rows) as rows_seen
    from rejected
    group by input_name
),

noticed_later as (
    select
        'exposures' as input_name,
        'later_than_lookback' as rule,
        sum(greatest(units_exposed - units_entered, 0)) as matching_rows
    from entries

    union all

    select
        source_days.source_name as input_name,
        'later_than_lookback' as rule,
        sum(greatest(source_days.rows_read - coalesce(days_read.rows_read, 0), 0)) as matching_rows
    from source_days
    left join days_read
        on source_days.source_name = days_read.source_name
        and source_days.activity_date = days_read.activity_date
    where source_days.source_name <> 'exposures'
    group by source_days.source_name

    union all

    select
        'exposures' as input_name,
        'repeat_exposure' as rule,
        sum(exposure_rows - 1) as matching_rows
    from exposed_units
    where excluded_by is null

    union all

    select
        'exposures' as input_name,
        excluded_by as rule,
        sum(exposure_rows) as matching_rows
    from exposed_units
    where excluded_by is not null
    group by excluded_by

    {%- for input_name, id in kept_inputs.items() %}

    union all

    select
        '{{ input_name }}' as input_name,
        'duplicate' as rule,
        accepted - distinct_ids as matching_rows
    from accepted_{{ input_name }}

    union all

    select
        '{{ input_name }}' as input_name,
        'later_than_lookback' as rule,
        count(distinct staged_{{ input_name }}.{{ id }}) as matching_rows
    from staged_{{ input_name }}
    left join {{ input_name }} on staged_{{ input_name }}.{{ id }} = {{ input_name }}.{{ id }}
    where staged_{{ input_name }}.rejected_by is null and {{ input_name }}.{{ id }} is null
    {%- endfor %}
    {%- if evalhouse.has_input('evaluation_scores') %}

    union all

    select
        'evaluation_scores' as input_name,
        'duplicate' as rule,
        noticed.accepted - kept.kept as matching_rows
    from noticed_evaluation_scores as noticed
    cross join kept_evaluation_scores as kept
    {%- endif %}

    union all

    select
        'outcomes' as input_name,
        'unusable_value' as rule,
        count(*) as matching_rows
    from staged_outcomes
    where rejected_by is null and has_unusable_value

    union all

    select
        'outcomes' as input_name,
        case when first_met.unit_id is null then 'unit_never_exposed' else 'before_exposure' end as rule,
        count(*) as matching_rows
    from outcomes
    left join first_met on outcomes.unit_id = first_met.unit_id
    where first_met.unit_id is null or outcomes.occurred_at < first_met.first_exposed_at
    group by case when first_met.unit_id is null then 'unit_never_exposed' else 'before_exposure' end

    union all

    select
        'experiments' as input_name,
        'end_before_start' as rule,
        count(*) as matching_rows
    from experiments
    where rejected_by is null and has_end_before_start

    union all

    select
        'experiments' as input_name,
        'unreadable_date' as rule,
        count(*) as matching_rows
    from experiments
    where rejected_by is null and has_unreadable_date

    union all

    select
        'experiments' as input_name,
        'impossible_alpha' as rule,
        count(*) as matching_rows
    from experiments
    where rejected_by is null and has_impossible_alpha

    union all

    select
        'experiments' as input_name,
        'unknown_control' as rule,
        count(*) as matching_rows
    from experiments
    inner join analysed_experiments on experiments.experiment_id = analysed_experiments.experiment_id
    where
        experiments.rejected_by is null
        and experiments.control_variation_id <> analysed_experiments.control_variation_id

    union all

    select
        'experiment_variations' as input_name,
        'impossible_weight' as rule,
        count(*) as matching_rows
    from experiment_variations
    where rejected_by is null and has_impossible_weight
    {%- for input_name, conditions in repairs.items() %}
    {%- for rule in conditions %}

    union all

    select
        '{{ input_name }}' as input_name,
        '{{ rule }}' as rule,
        {{ rule }} as matching_rows
    from noticed_{{ input_name }}
    {%- endfor %}
    {%- endfor %}
),

matches as (
    select
        input_name,
        rule,
        sum(matching_rows) as matching_rows
    from (
        select * from rejected
        union all
        select * from noticed_later
    ) as counted
    group by input_name, rule
),

rules as (
    {%- for input_name, rule, effect, description in rules
        if input_name in own_facts or evalhouse.has_input(input_name) %}
    select
        '{{ input_name }}' as input_name,
        '{{ rule }}' as rule,
        '{{ effect }}' as effect,
        '{{ description }}' as description
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

final as (
    select
        rules.input_name,
        rules.rule,
        rules.effect,
        rules.description,
        coalesce(rows_seen.rows_seen, 0) as rows_seen,
        coalesce(matches.matching_rows, 0) as matching_rows
    from rules
    left join rows_seen on rules.input_name = rows_seen.input_name
    left join matches
        on rules.input_name = matches.input_name
        and rules.rule = matches.rule
)

select
    cast(input_name as {{ dbt.type_string() }}) as input_name,
    cast(rule as {{ dbt.type_string() }}) as rule,
    cast(rows_seen as {{ dbt.type_bigint() }}) as rows_seen,
    cast(case when effect = 'repaired' then matching_rows else 0 end as {{ dbt.type_bigint() }}) as rows_repaired,
    cast(case when effect = 'dropped' then matching_rows else 0 end as {{ dbt.type_bigint() }}) as rows_dropped,
    cast(matching_rows as {{ evalhouse.type_double() }}) / nullif(rows_seen, 0) as share,
    cast(description as {{ dbt.type_string() }}) as description
from final
