{#-
    CTEs that say how each unit's values change from day to day, of metrics whose values only change with an event of
    the unit, a window that ends, or its leaving. On top of `experiments` (int_experiments and rebuilt_from): only
    changes from that day on are wanted.

    - unit_moves, wide, one row per unit and day on which it begins to count (sign 1: with no event yet) or ceases to
      (sign -1: with all it had). In the newest data a unit does not count before its sources reach over its window: it
      ceases to on the date that stands for them;
    - unit_steps, long, one row per unit, metric (`metric_number`, its place among `metrics`) and later day with an
      event that counts: what the parts are from that day on, and what they were before.
-#}
{% macro unit_changes(metrics) -%}
{%- set plan = evalhouse.metric_plan() -%}
{%- set double = evalhouse.type_double() -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set attributes = ['variation_id', 'phase_number', 'cluster_id'] + dimensions | map(attribute='name') | list -%}
{%- set totals_after = plan.totals | selectattr('period', 'equalto', 'after') | list -%}
{%- set funnels = metrics | selectattr('type', 'equalto', 'funnel') | list -%}
{%- set maxima = totals_after | selectattr('aggregate', 'equalto', 'max') | map(attribute='name') | list -%}
{#- By its own name, and not as one step for all metrics: each metric then reads its own columns only. -#}
{%- set unit_days = 'unit_days' if is_incremental() else ref('evalhouse', 'int_unit_days') -%}
{%- set ripening = {0: []} -%}
{%- set maturities = [] -%}
{%- set maturity_of = {} -%}
{#- Without a window to wait for, a row changes nothing but its own day. -#}
{%- set unwindowed = [] -%}
{%- for metric in metrics if metric.start_seconds + (metric.span_seconds or 0) <= 0 -%}
    {%- do unwindowed.append(metric) -%}
{%- endfor -%}
{%- set summed = unwindowed | rejectattr('type', 'equalto', 'funnel') | list -%}
{#- A unit has something new of a metric, or moves for another reason. -#}
{%- set nothing_new %}
        {%- for metric in summed %},
        0 as {{ metric.name }}__changes
        {%- endfor %}
{%- endset -%}
{%- set no_number = 'cast(null as ' ~ double ~ ')' -%}
{%- set first_dates, empty_values, empty_denominators = [], [], [] -%}
{%- for metric in metrics -%}
    {%- set seconds = [0, metric.start_seconds + (metric.span_seconds or 0)] | max -%}
    {%- do ripening.setdefault(seconds, []).append(metric.name) -%}
    {%- set condition = evalhouse.is_mature(metric, 'entered') -%}
    {%- do maturities.append(condition) if condition not in maturities -%}
    {%- do maturity_of.update({metric.name: maturities.index(condition)}) -%}
    {%- do first_dates.append('members.counts_from_' ~ seconds) -%}
    {%- do empty_values.append(evalhouse.limited(metric, evalhouse.value_of_totals(metric, none, none))) -%}
    {%- do empty_denominators.append(evalhouse.limited(metric, evalhouse.denominator_of_totals(metric, none))) -%}
{%- endfor -%}
all_unit_days as (
    select * from {{ ref('evalhouse', 'int_unit_days') }}
),

second_variations as {{ evalhouse.materialized() }} (
    select
        experiment_id,
        unit_id,
        cast(second_variation_at as date) as leaves_on
    from {{ ref('evalhouse', 'int_exposed_units') }}
    where
        second_variation_at is not null
        and experiment_id in (select experiment_id from experiments)
),

fact_watermarks as (
    {{ evalhouse.fact_watermarks(metrics | sum(attribute='covers', start=[]) | unique | list) | indent(4) }}
),

{%- if funnels %}

funnels as (
    select * from {{ ref('evalhouse', 'int_unit_funnels') }}
),
{%- endif %}

{%- if is_incremental() %}

-- By names of their own: an engine would else store the whole tables to read them twice.
moving as (
    select
        experiment_id,
        unit_id,
        first_exposed_at
    from {{ ref('evalhouse', 'int_unit_baselines') }}
    where unit_id <> ''
),

new_days as (
    select * from {{ ref('evalhouse', 'int_unit_days') }}
    -- Said once more by the join below: of an inequality in a join an engine expects far more units than there are.
    where activity_date >= (select min(rebuilt_from) from experiments)
),

-- Nothing else can change a sum from that day on.
moves_of_units as (
    select
        new_days.experiment_id,
        new_days.unit_id
        {%- for metric in summed %},
        case when {{ evalhouse.has_totals(metric, 'new_days') }} then 1 else 0 end as {{ metric.name }}__changes
        {%- endfor %}
    from new_days
    inner join experiments
        on new_days.experiment_id = experiments.experiment_id
        and new_days.activity_date >= experiments.rebuilt_from

    union all

    select
        second_variations.experiment_id,
        second_variations.unit_id
        {{- nothing_new }}
    from second_variations
    inner join experiments
        on second_variations.experiment_id = experiments.experiment_id
        and second_variations.leaves_on >= experiments.rebuilt_from

    union all

    select
        entered.experiment_id,
        entered.unit_id
        {{- nothing_new }}
    from moving as entered
    inner join experiments on entered.experiment_id = experiments.experiment_id
    cross join fact_watermarks as watermarks
    where
        {%- for seconds in ripening %}
        {%- set starts_at = evalhouse.shifted('entered.first_exposed_at', seconds) %}
        {%- set counts_from = evalhouse.closing_date(starts_at) if seconds > 0 else 'cast(' ~ starts_at ~ ' as date)' %}
        {{ 'or ' if not loop.first }}{{ counts_from }} >= experiments.rebuilt_from
        {%- endfor %}
        {%- for condition in maturities %}
        or coalesce(not ({{ condition }}), true)
        {%- endfor %}
    {%- for metric in funnels %}

    union all

    select
        funnels.experiment_id,
        funnels.unit_id
        {{- nothing_new }}
    from funnels
    inner join experiments
        on funnels.experiment_id = experiments.experiment_id
        and cast(funnels.{{ metric.name }}__reached_at as date) >= experiments.rebuilt_from
    {%- endfor %}
),

moved_units as (
    select
        experiment_id,
        unit_id
        {%- for metric in summed %},
        max({{ metric.name }}__changes) as {{ metric.name }}__changes
        {%- endfor %}
    from moves_of_units
    group by experiment_id, unit_id
),

unit_days as {{ evalhouse.materialized() }} (
    select
        all_unit_days.*
        {%- for metric in summed %},
        moved_units.{{ metric.name }}__changes
        {%- endfor %}
    from all_unit_days
    inner join moved_units
        on all_unit_days.experiment_id = moved_units.experiment_id
        and all_unit_days.unit_id = moved_units.unit_id
),

{%- endif %}

-- What a unit was when it entered is what it counts as: what comes later than the lookback does not change it. It
-- counts for a metric from the day on which its window is over, or at once, until it sees a second variation.
entered_members as (
    select * from {{ ref('evalhouse', 'int_unit_baselines') }}
    where unit_id <> ''
),

members as {{ evalhouse.materialized() ~ ' ' if is_incremental() }}(
    {{ evalhouse.members_of('entered_members', ripening, maturities) | indent(4) }}
),

{%- if is_incremental() %}

arriving as (
    select * from members
),

leaving as (
    select * from members
    where leaves_on is not null
),

unripe as (
    select * from members
    where leaves_on is null
),
{%- else %}

-- Read again from where they are: to read them several times an engine would else store them all.
{%- for name, rest in [
    ['arriving', ''], ['leaving', 'and second_variations.leaves_on is not null'],
    ['unripe', 'and second_variations.leaves_on is null']
] %}

entered_{{ name }} as (
    select * from {{ ref('evalhouse', 'int_unit_baselines') }}
    where unit_id <> ''
),

{{ name }} as (
    {{ evalhouse.members_of('entered_' ~ name, ripening, maturities) | indent(4) }}
        {{ rest }}
),
{%- endfor %}
{%- endif %}

newcomers as (
    select
        arriving.*
        {%- for total in totals_after %},
        cast(null as {{ double }}) as {{ total.name }}
        {%- endfor %}
        {%- for metric in funnels %},
        false as {{ metric.name }}__is_reached
        {%- endfor %}
    from arriving
),

beginnings as (
    {%- for seconds in ripening %}
    {{ 'union all' if not loop.first }}
    select
        unit_totals.experiment_id,
        unit_totals.unit_id,
        {%- for attribute in attributes %}
        unit_totals.{{ attribute }},
        {%- endfor %}
        unit_totals.counts_from_{{ seconds }} as change_date,
        cast(1 as {{ double }}) as sign,
        {{ seconds == 0 }} as is_analysed
        {%- for names in ripening.values() %}
        {%- set counts = 'true' if names == ripening[seconds] else 'false' %}
        {%- for metric in metrics if metric.name in names %},
        {{ evalhouse.unit_parts(metric, counts, none) }}
        {%- endfor %}
        {%- endfor %}
    from newcomers as unit_totals
    where
        {%- if is_incremental() %}
        unit_totals.counts_from_{{ seconds }} >= unit_totals.rebuilt_from
        {%- else %}
        unit_totals.counts_from_{{ seconds }} is not null
        {%- endif %}
        and (unit_totals.leaves_on is null or unit_totals.counts_from_{{ seconds }} < unit_totals.leaves_on)
    {%- endfor %}
),

-- Those that leave, and those that the newest data leave out.
departures as (
    select
        leaving.*,
        leaves_on as departs_on
    from leaving
    where leaves_on >= rebuilt_from
    {%- if maturities %}

    union all

    select
        unripe.*,
        {{ evalhouse.current_look() }} as departs_on
    from unripe
    where
        {%- for condition in maturities %}
        {{ 'or ' if not loop.first }}is_unripe_{{ loop.index0 }}
        {%- endfor %}
    {%- endif %}
),

totals_at_departure as (
    select
        departures.experiment_id,
        departures.unit_id
        {%- for total in totals_after %},
        {{ 'max' if total.aggregate == 'max' else 'sum' }}(unit_days.{{ total.name }}) as {{ total.name }}
        {%- endfor %}
    from departures
    inner join {{ 'unit_days' if is_incremental() else 'all_unit_days' }} as unit_days
        on departures.experiment_id = unit_days.experiment_id
        and departures.unit_id = unit_days.unit_id
        and unit_days.activity_date < departures.departs_on
    group by departures.experiment_id, departures.unit_id
),

departing as (
    select
        departures.*
        {%- for total in totals_after %},
        totals_at_departure.{{ total.name }}
        {%- endfor %}
        {%- for metric in funnels %},
        coalesce(cast(funnels.{{ metric.name }}__reached_at as date) < departures.departs_on, false)
            as {{ metric.name }}__is_reached
        {%- endfor %}
    from departures
    left join totals_at_departure
        on departures.experiment_id = totals_at_departure.experiment_id
        and departures.unit_id = totals_at_departure.unit_id
    {%- if funnels %}
    left join funnels
        on departures.experiment_id = funnels.experiment_id
        and departures.unit_id = funnels.unit_id
    {%- endif %}
),

unit_moves as (
    select * from beginnings

    union all

    select
        unit_totals.experiment_id,
        unit_totals.unit_id,
        {%- for attribute in attributes %}
        unit_totals.{{ attribute }},
        {%- endfor %}
        unit_totals.departs_on as change_date,
        cast(-1 as {{ double }}) as sign,
        unit_totals.counts_from_0 < unit_totals.leaves_on as is_analysed
        {%- for seconds, names in ripening.items() %}
        {%- for metric in metrics if metric.name in names %},
        {%- set departs %}unit_totals.counts_from_{{ seconds }} < unit_totals.departs_on
            and (unit_totals.leaves_on is not null or unit_totals.is_unripe_{{ maturity_of[metric.name] }})
        {%- endset %}
        {{ evalhouse.unit_parts(metric, departs, none) }}
        {%- endfor %}
        {%- endfor %}
    from departing as unit_totals
),

{%- for metric in metrics %}
{%- set columns = [['numerator', metric.numerator], ['denominator', metric.denominator_total]] %}

{%- if metric.type != 'funnel' %}

{{ metric.name }}__days as (
    select * from {{ unit_days }}
),
{%- endif %}

{{ metric.name }}_running as (
    {%- if metric.type == 'funnel' %}
    select
        experiments.experiment_number,
        funnels.unit_id,
        cast(funnels.{{ metric.name }}__reached_at as date) as activity_date,
        cast(null as date) as next_date,
        cast(1 as {{ double }}) as numerator,
        cast(null as {{ double }}) as earlier_numerator
    from funnels
    inner join experiments on funnels.experiment_id = experiments.experiment_id
    where funnels.{{ metric.name }}__reached_at is not null
    {%- else %}
    -- What holds on a day and what held before the next come from the same sum, so that they cancel to the last digit.
    select
        experiments.experiment_number,
        unit_days.unit_id,
        unit_days.activity_date,
        {%- if metric.start_seconds + (metric.span_seconds or 0) > 0 %}
        lead(unit_days.activity_date) over (
            partition by experiments.experiment_number, unit_days.unit_id order by unit_days.activity_date
        ) as next_date
        {%- else %}
        cast(null as date) as next_date
        {%- endif %}
        {%- for name, total in columns if total %},
        {%- set aggregate = 'max' if total in maxima else 'sum' %}
        {{ aggregate }}(unit_days.{{ total }}) over (
            partition by experiments.experiment_number, unit_days.unit_id order by unit_days.activity_date
            rows between unbounded preceding and current row
        ) as {{ name }},
        {{ aggregate }}(unit_days.{{ total }}) over (
            partition by experiments.experiment_number, unit_days.unit_id order by unit_days.activity_date
            rows between unbounded preceding and 1 preceding
        ) as earlier_{{ name }}
        {%- endfor %}
    from {{ metric.name }}__days as unit_days
    inner join experiments on unit_days.experiment_id = experiments.experiment_id
    where
        ({{ evalhouse.has_totals(metric, 'unit_days') }})
        {%- if is_incremental() and metric in summed %}
        and unit_days.{{ metric.name }}__changes = 1
        {%- endif %}
    {%- endif %}
),
{%- endfor %}

running as (
    {%- if not metrics %}
    select
        0 as metric_number,
        0 as experiment_number,
        unit_id,
        activity_date,
        activity_date as next_date
        {%- for name in ['y', 'd', 'earlier_y', 'earlier_d'] %},
        cast(null as {{ double }}) as {{ name }}
        {%- endfor %}
    from all_unit_days
    where 1 = 0
    {%- endif %}
    {%- for metric in metrics %}
    {{ 'union all' if not loop.first }}
    select
        {{ loop.index }} as metric_number,
        experiment_number,
        unit_id,
        activity_date,
        next_date,
        {%- for age in ['', 'earlier_'] %}
        {%- set value = evalhouse.value_of_totals(metric, age ~ 'numerator', age ~ 'denominator') %}
        {{ evalhouse.limited(metric, value) }} as {{ age }}y,
        {{ evalhouse.limited(metric, evalhouse.denominator_of_totals(metric, age ~ 'denominator')) }} as {{ age }}d
        {{- ',' if not loop.last }}
        {%- endfor %}
    from {{ metric.name }}_running
    {%- if is_incremental() and metric in unwindowed %}
    where activity_date >= (select min(rebuilt_from) from experiments)
    {%- endif %}
    {%- endfor %}
),

dated_steps as (
    select
        running.*,
        members.experiment_id,
        {%- for attribute in attributes %}
        members.{{ attribute }},
        {%- endfor %}
        members.rebuilt_from,
        members.leaves_on,
        {{ evalhouse.of_metric('running.metric_number', empty_values or [no_number]) }} as empty_y,
        {{ evalhouse.of_metric('running.metric_number', empty_denominators or [no_number]) }} as empty_d,
        {{ evalhouse.of_metric('running.metric_number', first_dates or ['members.counts_from_0']) }} as counts_from,
        {%- for part, key in [['x', 'numerator_before'], ['w', 'denominator_before']] %}
        {%- set covariates = [] %}
        {%- for metric in metrics %}
        {%- do covariates.append(
            evalhouse.limited(metric, evalhouse.total_before(metric, 'members.' ~ metric[key])) if metric[key]
            else no_number
        ) %}
        {%- endfor %}
        {{ evalhouse.of_metric('running.metric_number', covariates or [no_number]) }} as {{ part }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from running
    inner join members
        on running.experiment_number = members.experiment_number
        and running.unit_id = members.unit_id
),

-- Events before the unit counts come in with its first day, all at once.
unit_steps as (
    select
        metric_number,
        experiment_id,
        experiment_number,
        unit_id,
        {%- for attribute in attributes %}
        {{ attribute }},
        {%- endfor %}
        case when activity_date < counts_from then counts_from else activity_date end as change_date,
        y,
        d,
        case when activity_date <= counts_from then empty_y else earlier_y end as earlier_y,
        case when activity_date <= counts_from then empty_d else earlier_d end as earlier_d,
        x,
        w
    from dated_steps
    where
        counts_from is not null
        and (next_date is null or next_date > counts_from)
        and case when activity_date < counts_from then counts_from else activity_date end >= rebuilt_from
        and (
            leaves_on is null
            or case when activity_date < counts_from then counts_from else activity_date end < leaves_on
        )
)
{%- endmacro %}

{#- What holds for the metric with the place `number` in a list, out of one expression for each place. -#}
{% macro of_metric(number, expressions) -%}
    {%- set places = {} -%}
    {%- for expression in expressions -%}
        {%- do places.setdefault(expression, []).append(loop.index) -%}
    {%- endfor -%}
    {%- if places | length == 1 -%}
        {{ expressions[0] }}
    {%- else -%}
        case
            {%- for expression, numbers in places.items() %}
            when {{ number }} in ({{ numbers | join(', ') }}) then {{ expression }}
            {%- endfor %}
        end
    {%- endif -%}
{%- endmacro %}

{#- Select of the rows of `entered` (like int_unit_baselines) that count, of the units that move: what they are, from
    when on they count (`counts_from_<seconds>`), whether they wait for a source (`is_unripe_<place>`), and when they
    leave. -#}
{% macro members_of(entered, ripening, maturities) -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set attributes = ['variation_id', 'phase_number', 'cluster_id'] + dimensions | map(attribute='name') | list -%}
select
    entered.experiment_id,
    experiments.experiment_number,
    entered.unit_id
    {%- for attribute in attributes %},
    entered.{{ attribute }}
    {%- endfor %},
    experiments.rebuilt_from,
    second_variations.leaves_on
    {%- for condition in maturities %},
    coalesce(not ({{ condition }}), true) as is_unripe_{{ loop.index0 }}
    {%- endfor %}
    {%- for seconds in ripening %},
    {%- if seconds == 0 %}
    cast(entered.first_exposed_at as date) as counts_from_0
    {%- else %}
    case
        when {{ evalhouse.shifted('entered.first_exposed_at', seconds) }} <= experiments.as_of_at
            then {{ evalhouse.closing_date(evalhouse.shifted('entered.first_exposed_at', seconds)) }}
    end as counts_from_{{ seconds }}
    {%- endif %}
    {%- endfor %}
    {%- for total in evalhouse.metric_plan().totals if total.period == 'before' %},
    entered.{{ total.name }}
    {%- endfor %}
from {{ entered }} as entered
{%- if is_incremental() %}
inner join moved_units
    on entered.experiment_id = moved_units.experiment_id
    and entered.unit_id = moved_units.unit_id
{%- endif %}
inner join experiments on entered.experiment_id = experiments.experiment_id
cross join fact_watermarks as watermarks
left join second_variations
    on entered.experiment_id = second_variations.experiment_id
    and entered.unit_id = second_variations.unit_id
where
    (not experiments.is_clustered or entered.cluster_id is not null)
{%- endmacro %}

{#-
    CTEs that end in `change_sums`: by how much the step sums of every group and slice change on each day, one row per
    metric; the metric '(units)' counts the units themselves. On top of those of `unit_changes` and of `bounds`, the
    constants of each arm (as int_arm_centres has them). `key` is a list of columns.
-#}
{% macro unit_change_sums(metrics, key) -%}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set dated_key = key + ['change_date'] -%}
{%- set columns = dated_key + dimensions | map(attribute='name') | list -%}
{%- set dated_step_key = ['experiment_number'] + dated_key | reject('equalto', 'experiment_id') | list -%}
{%- set step_columns = dated_step_key + dimensions | map(attribute='name') | list -%}
{%- set labelled_key = dated_key + ['dimension_name', 'dimension_value'] -%}
{%- set names = evalhouse.step_sum_names() -%}
{#- Units that count from the start go on to count, with the covariates that they had: these sums stand still. -#}
{%- set stepping = names if metrics | selectattr('missing', 'equalto', 'exclude') | list
    else names | reject('in', ['n', 'x', 'xx', 'w', 'ww', 'xw']) | list -%}
{%- set double = evalhouse.type_double() -%}
centred_moves as (
    select
        {{ evalhouse.qualified('unit_metrics', columns | join(', ')) }},
        unit_metrics.sign,
        unit_metrics.is_analysed
        {%- for metric in metrics %},
        {{ evalhouse.centred_parts(metric) }}
        {%- endfor %}
    from unit_moves as unit_metrics
    left join bounds
        on unit_metrics.experiment_id = bounds.experiment_id
        and unit_metrics.variation_id = bounds.variation_id
),

grouped_moves as (
    select
        {{ columns | join(',\n        ') }},
        sum(case when is_analysed then sign else 0 end) as units
        {%- for metric in metrics %}
        {%- for name in evalhouse.step_sums(metric) %},
        {{ evalhouse.step_sum(metric, name) }} as {{ metric.name }}__{{ name }}
        {%- endfor %}
        {%- endfor %}
    from centred_moves
    group by {{ evalhouse.dimension_grouping_sets(dated_key, dimensions) }}
),

move_sums as {{ evalhouse.materialized() }} (
    select
        {{ evalhouse.dimension_labels(dimensions) | indent(8) }},
        grouped_moves.*
    from grouped_moves
),

constants as (
    {%- for metric in metrics %}
    {{ 'union all' if not loop.first }}
    select
        experiments.experiment_number,
        bounds.variation_id,
        {{ loop.index }} as metric_number,
        {{ evalhouse.has_zeros_apart(metric) }} as tells_zeros
        {%- for part in ['y', 'd', 'x', 'w'] %},
        {{ evalhouse.centre_of_part(metric, part)
            if part in evalhouse.metric_parts(metric) and metric.type in ['mean', 'participation', 'ratio']
            else 'cast(0 as ' ~ double ~ ')' }} as centre_{{ part }}
        {%- endfor %}
        {%- for part in ['x', 'w'] %},
        {{ 'coalesce(bounds.' ~ metric.name ~ '__' ~ part ~ '_mean, 0)'
            if part in evalhouse.metric_parts(metric) and metric.missing == 'exclude'
            else 'cast(0 as ' ~ double ~ ')' }} as usual_{{ part }}
        {%- endfor %}
    from bounds
    inner join experiments on bounds.experiment_id = experiments.experiment_id
    {%- endfor %}
    {%- if not metrics %}
    select
        0 as experiment_number,
        variation_id,
        0 as metric_number,
        false as tells_zeros
        {%- for name in ['centre_y', 'centre_d', 'centre_x', 'centre_w', 'usual_x', 'usual_w'] %},
        cast(null as {{ double }}) as {{ name }}
        {%- endfor %}
    from bounds
    where 1 = 0
    {%- endif %}
),

centred_steps as (
    select
        unit_steps.metric_number,
        {{ evalhouse.qualified('unit_steps', step_columns | join(', ')) }}
        {%- for age in ['', 'earlier_'] %}
        {%- set y = 'unit_steps.' ~ age ~ 'y' %},
        case when {{ y }} is not null then 1 else 0 end as {{ age }}n,
        case when constants.tells_zeros and {{ y }} = 0 then 1 else 0 end as {{ age }}z,
        case
            when {{ y }} is null or constants.tells_zeros and {{ y }} = 0 then 0
            else {{ y }} - constants.centre_y
        end as {{ age }}y,
        coalesce(unit_steps.{{ age }}d - constants.centre_d, 0) as {{ age }}d
        {%- for part in ['x', 'w'] %},
        case when {{ y }} is not null
            then coalesce(unit_steps.{{ part }}, constants.usual_{{ part }}) - constants.centre_{{ part }}
            else 0
        end as {{ age }}{{ part }}
        {%- endfor %}
        {%- endfor %}
    from unit_steps
    inner join constants
        on unit_steps.experiment_number = constants.experiment_number
        and unit_steps.variation_id = constants.variation_id
        and unit_steps.metric_number = constants.metric_number
),

grouped_steps as (
    select
        metric_number,
        {{ step_columns | join(',\n        ') }}
        {%- for name in stepping %},
        {%- if name | length == 1 %}
        sum({{ name }} - earlier_{{ name }}) as {{ name }}
        {%- else %}
        sum({{ name[0] }} * {{ name[1] }} - earlier_{{ name[0] }} * earlier_{{ name[1] }}) as {{ name }}
        {%- endif %}
        {%- endfor %}
    from centred_steps
    group by {{ evalhouse.dimension_grouping_sets(['metric_number'] + dated_step_key, dimensions) }}
),

step_sums as (
    select
        {{ evalhouse.dimension_labels(dimensions) | indent(8) }},
        {{ evalhouse.name_of_number(metrics) }} as metric_name,
        numbers.experiment_id,
        grouped_steps.*
    from grouped_steps
    inner join (
        select
            experiment_id,
            experiment_number
        from experiments
    ) as numbers on grouped_steps.experiment_number = numbers.experiment_number
),

all_sums as (
    select
        metric_name,
        {{ labelled_key | join(',\n        ') }}
        {%- for name in names %},
        cast({{ name if name in stepping else 0 }} as {{ double }}) as {{ name }}
        {%- endfor %}
    from step_sums

    union all

    select
        '(units)' as metric_name,
        {{ labelled_key | join(',\n        ') }}
        {%- for name in names %},
        {{ 'units' if name == 'n' else 'cast(0 as ' ~ double ~ ')' }} as {{ name }}
        {%- endfor %}
    from move_sums
    {%- for metric in metrics %}

    union all

    select
        '{{ metric.name }}' as metric_name,
        {{ labelled_key | join(',\n        ') }}
        {%- for name in names %},
        {{ 'coalesce(' ~ metric.name ~ '__' ~ name ~ ', 0)' if name in evalhouse.step_sums(metric)
            else 'cast(0 as ' ~ double ~ ')' }} as {{ name }}
        {%- endfor %}
    from move_sums
    {%- endfor %}
),

change_sums as (
    select
        metric_name,
        {{ labelled_key | join(',\n        ') }}
        {%- for name in names %},
        sum({{ name }}) as {{ name }}
        {%- endfor %}
    from all_sums
    group by
        metric_name,
        {{ labelled_key | join(',\n        ') }}
)
{%- endmacro %}

{#- Condition that a row of `relation` has one of the totals a metric is made of. -#}
{% macro has_totals(metric, relation) -%}
    {{ relation }}.{{ metric.numerator }} is not null
    {%- if metric.denominator_total %} or {{ relation }}.{{ metric.denominator_total }} is not null{% endif %}
{%- endmacro %}

{#- Name of the metric with the place `metric_number` among `metrics`. -#}
{% macro name_of_number(metrics) -%}
    {%- set names = [] -%}
    {%- for metric in metrics -%}
        {%- do names.append("'" ~ metric.name ~ "'") -%}
    {%- endfor -%}
    {{ evalhouse.of_metric('metric_number', names or ["''"]) }}
{%- endmacro %}
