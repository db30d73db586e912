{#-
    What a monitor's `performance` reads: `measures` with the SQL of value, weight (none: a row weighs one) and the
    column of their label's time, `labels` with each such column once, and the SQL of a row's slice.
-#}
{% macro drift_measures(monitor) -%}
    {%- set own = ['exposures', 'outcomes', 'traces', 'turns', 'sessions', 'evaluation_scores'] -%}
    {%- set path = 'drift_monitors.' ~ monitor.name -%}
    {%- set measures = [] -%}
    {%- set labels = {} -%}
    {%- for measure in monitor.performance -%}
        {%- set column = measure.labelled_at_column -%}
        {%- if column and column not in labels -%}
            {%- set time = column -%}
            {%- if monitor.relation not in own -%}
                {%- set columns = evalhouse._drift_columns(path ~ '.relation', monitor.relation) -%}
                {%- if columns and column | lower not in columns -%}
                    {{ exceptions.raise_compiler_error(
                        "evalhouse: " ~ path ~ ".performance." ~ measure.name ~ ".labelled_at_column is '" ~ column
                        ~ "'; allowed: " ~ columns | join(', ')
                    ) }}
                {%- elif columns -%}
                    {%- set found = columns[column | lower] -%}
                    {%- set time = evalhouse.to_utc_timestamp(
                        adapter.quote(found.name), evalhouse._timestamp_kind(monitor.name, found)
                    ) -%}
                {%- endif -%}
            {%- endif -%}
            {%- do labels.update({column: {'column': 'label_' ~ (labels | length + 1), 'sql': time}}) -%}
        {%- endif -%}
        {%- do measures.append({
            'column': 'measure_' ~ loop.index,
            'name': measure.name,
            'value': evalhouse.drift_amount(measure.value),
            'weight': evalhouse.drift_amount(measure.denominator) if measure.denominator is not none else none,
            'label': labels[column].column if column else none,
            'direction': measure.direction,
            'margin_absolute': measure.margin_absolute,
        }) -%}
    {%- endfor -%}
    {%- set parts = [] -%}
    {%- for column in monitor.slices -%}
        {%- do parts.append(
            "'" ~ column ~ "=' || " ~ evalhouse.drift_label(evalhouse.drift_name(monitor, column))
        ) -%}
    {%- endfor -%}
    {{ return({
        'measures': measures,
        'labels': labels.values() | list,
        'slice': parts | join(" || ', ' || ") if parts else "'(no slices)'",
    }) }}
{%- endmacro %}

{#- A number whose square, and its square, every engine can hold: null beyond 1e60, zero below 1e-40. -#}
{% macro drift_amount(expression) -%}
    {%- set number = 'cast(' ~ expression ~ ' as ' ~ evalhouse.type_double() ~ ')' -%}
    case
        when abs({{ number }}) < 1e-40 then cast(0 as {{ evalhouse.type_double() }})
        when abs({{ number }}) <= 1e60 then {{ number }}
    end
{%- endmacro %}

{#-
    Select of a monitor's rows with what its measures need: row_date, segments, slice, unit_group (null where rows stand
    for themselves), per measure its value and weight, both null unless both are known, and per label its time, its
    lag in hours and the step of that lag.
-#}
{% macro drift_measure_rows(monitor) -%}
    {%- set plan = evalhouse.drift_measures(monitor) -%}
    {%- set segments = evalhouse.drift_columns(monitor).segments -%}
    {%- set expressions = {'row_at': evalhouse.drift_relation(monitor).time, 'slice': plan.slice} -%}
    {%- do expressions.update(evalhouse.drift_expressions(segments)) -%}
    {%- for measure in plan.measures -%}
        {%- do expressions.update({measure.column ~ '_value': measure.value}) -%}
        {%- if measure.weight -%}
            {%- do expressions.update({measure.column ~ '_weight': measure.weight}) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for label in plan.labels -%}
        {%- do expressions.update({label.column ~ '_at': label.sql}) -%}
    {%- endfor -%}
    {%- set as_of = evalhouse.as_of_literal() if evalhouse.settings().analysis.as_of else none -%}
    {%- set epoch = "cast('1970-01-01' as " ~ dbt.type_timestamp() ~ ")" -%}
    select
        row_date,
        row_at,
        slice,
        {%- for segment in segments %}
        {{ segment.column }},
        {%- endfor %}
        {%- for label in plan.labels %}
        {{ label.column }}_at,
        {{ label.column }}_hours,
        {{ evalhouse.label_step(label.column ~ '_hours') }} as {{ label.column }}_step,
        {%- endfor %}
        {%- for measure in plan.measures %}
        {%- set known = ([measure.column ~ '_value', measure.column ~ '_weight' if measure.weight,
            measure.label ~ '_at' if measure.label] | select | join(' is not null and ')) ~ ' is not null' %}
        case when {{ known }} then {{ measure.column }}_value end as {{ measure.column }}_value,
        case when {{ known }} then {{ measure.column ~ '_weight' if measure.weight else 1 }} end
            as {{ measure.column }}_weight,
        {%- endfor %}
        {%- if monitor.unit_column %}
        -- The first six bits of the unit's hash; translate() would say it shorter, and take six times as long.
        substr(unit_hash, 1, 1) || case
            when substr(unit_hash, 2, 1) in ('0', '1', '2', '3') then '0'
            when substr(unit_hash, 2, 1) in ('4', '5', '6', '7') then '4'
            when substr(unit_hash, 2, 1) in ('8', '9', 'a', 'b') then '8'
            else 'c'
        end as unit_group
        {%- else %}
        cast(null as {{ dbt.type_string() }}) as unit_group
        {%- endif %}
    from (
        select
            *
            {%- if monitor.unit_column %},
            -- A row without a unit stands for itself.
            {{ dbt.hash(
                "coalesce(unit_id, 'row ' || cast(cast(1e3 * " ~ evalhouse.seconds_between(epoch, 'row_at') ~ ' as '
                ~ dbt.type_bigint() ~ ') as ' ~ dbt.type_string() ~ "), 'row')"
            ) }} as unit_hash
            {%- endif %}
            {%- for label in plan.labels %},
            {{ evalhouse.seconds_between('row_at', label.column ~ '_at') }} / 3600 as {{ label.column }}_hours
            {%- endfor %}
        from (
            select
                row_date,
                unit_id
                {%- for name in expressions %},
                {%- if name.startswith('label_') and as_of %}
                -- A label from after as_of is not known yet.
                case when {{ name }} <= {{ as_of }} then {{ name }} end as {{ name }}
                {%- else %}
                {{ name }}
                {%- endif %}
                {%- endfor %}
            from (
                {{ evalhouse.drift_rows(monitor, expressions) | indent(16) }}
            ) as rows_of_monitor_as_logged
        ) as rows_as_known
    ) as rows_with_lags
{%- endmacro %}

{#- A label's lag, rounded up to one of few steps, in hours: labels are waited for and counted by whole steps. -#}
{% macro label_step(hours) -%}
    cast(case
        when {{ hours }} is null then null
        {%- for step in [1, 2, 3, 6, 12] %}
        when {{ hours }} <= {{ step }} then {{ step }}
        {%- endfor %}
        {%- for step, limit in [(24, 336), (168, 3360), (672, 672000)] %}
        when {{ hours }} <= {{ limit }} then {{ step }} * ceil({{ hours }} / {{ step }})
        {%- endfor %}
        else 1000000
    end as {{ dbt.type_int() }})
{%- endmacro %}

{#- The parts of a change, in the order in which they add up to it. -#}
{% macro drift_parts() -%}
    {{ return(['change', 'mix', 'within_slices', 'uncovered']) }}
{%- endmacro %}
