{#-
    What is allowed, as data. `kind` says how a value is checked, `allowed` says so to the user, `default` is null if
    not given. Bounds of numbers: above and below exclude the bound, least includes it.
-#}
{%- macro _settings_fields() -%}
    {%- set inputs = [
        'exposures', 'experiments', 'experiment_variations', 'experiment_phases', 'outcomes', 'traces',
        'evaluation_scores',
    ] -%}
    {%- set aggregates = ['sum', 'count', 'max', 'count_distinct'] -%}
    {%- set types = ['proportion', 'mean', 'ratio', 'quantile', 'retention', 'participation', 'funnel'] -%}

    {%- set every = ['name', 'description', 'type', 'fact', 'role', 'direction', 'delay_hours', 'window_hours'] -%}

    {%- set condition = {'kind': 'sql', 'allowed': 'a SQL condition, as text'} -%}
    {%- set expression = {'kind': 'sql_or_number', 'allowed': 'a SQL expression, as text, or a number'} -%}
    {%- set positive = {'kind': 'number', 'above': 0, 'allowed': 'a number above 0'} -%}
    {%- set hours = {'kind': 'number', 'above': 0, 'below': 500000, 'allowed': 'a number above 0 and below 500000'} -%}
    {%- set not_negative = {'kind': 'number', 'least': 0, 'allowed': 'a number, 0 or above'} -%}
    {%- set delay = {'kind': 'number', 'least': 0, 'below': 500000, 'allowed': 'a number from 0 and below 500000'} -%}
    {%- set fraction = {'kind': 'number', 'above': 0, 'below': 1, 'allowed': 'a number above 0 and below 1'} -%}
    {%- set boolean = {'kind': 'boolean', 'default': false, 'allowed': 'true, false'} -%}
    {%- set column = {'kind': 'pattern', 'pattern': '[A-Za-z_][A-Za-z0-9_]*', 'allowed': 'a plain column name'} -%}
    {%- set fact = {'kind': 'text', 'allowed': 'outcomes, turns, sessions or the name of one of facts'} -%}
    {%- set aggregate = {
        'kind': 'choice', 'choices': aggregates, 'default': 'sum', 'allowed': aggregates | join(', ')
    } -%}
    {%- set within_a_day = {
        'kind': 'number', 'above': 0, 'below': 86400.5, 'allowed': 'a number of seconds above 0, at most a day'
    } -%}
    {%- set minutes = {
        'kind': 'number', 'above': 0, 'below': 1440.5, 'allowed': 'a number of minutes above 0, at most a day'
    } -%}
    {%- set identifier = '[A-Za-z_][A-Za-z0-9_$-]*' -%}
    {%- set relation = identifier ~ '([.]' ~ identifier ~ '){0,2}' -%}
    {%- set snake_case = '[a-z][a-z0-9_]{0,49}' -%}
    {%- set snake_case_text = 'a unique snake_case name of at most 50 characters' -%}

    {%- set source_tables = {} -%}
    {%- for name in inputs -%}
        {%- do source_tables.update({
            name: {
                'kind': 'pattern', 'pattern': identifier, 'default': name,
                'allowed': 'the name of a table in raw_schema'
            }
        }) -%}
    {%- endfor -%}

    {%- do return({
        'root': {
            'raw_schema': {
                'kind': 'pattern', 'pattern': identifier, 'default': 'raw', 'allowed': 'the name of a schema'
            },
            'source_tables': {
                'kind': 'mapping', 'default': {}, 'allowed': 'a mapping of inputs to table names'
            },
            'inputs': {
                'kind': 'list', 'default': ['exposures', 'outcomes'],
                'allowed': 'a list from ' ~ inputs | join(', '),
            },
            'dimensions': {'kind': 'list', 'default': [], 'allowed': 'a list of column names'},
            'protected_dimensions': {'kind': 'list', 'default': [], 'allowed': 'a list of column names'},
            'metrics': {'kind': 'list', 'default': [], 'allowed': 'a list of metrics'},
            'facts': {'kind': 'list', 'default': [], 'allowed': 'a list of facts'},
            'guardrails': {'kind': 'list', 'default': [], 'allowed': 'a list of guardrails'},
            'drift_monitors': {'kind': 'list', 'allowed': 'a list of monitors'},
            'signals': {'kind': 'mapping', 'default': {}, 'allowed': 'a mapping'},
            'analysis': {'kind': 'mapping', 'default': {}, 'allowed': 'a mapping'},
        },
        'input': {'choices': inputs, 'allowed': inputs | join(', ')},
        'source_tables': source_tables,
        'dimension': {
            'pattern': '(?!(?:total|counts_from|is_unripe)_[0-9]+$)' ~ column.pattern,
            'reserved': [
                'all', 'experiment_id', 'variation_id', 'unit_id', 'exposed_at', 'cluster_id', 'exposure_kind',
                'session_id', 'trace_id', 'loaded_at', 'stage', 'started_at', 'ended_at', 'horizon_at', 'phase_number',
                'first_exposed_at', 'last_exposed_at', 'exposure_rows', 'has_several_variations', 'is_clustered',
                'is_unknown_variation', 'excluded_by', 'rejected_by', 'dimension_name', 'dimension_value',
                'metric_name', 'metric_value', 'analysed_units', 'units', 'entry_date', 'activity_date', 'change_date',
                'next_date', 'definition_hash', 'day_state', 'leaves_on', 'rebuilt_from', 'metric_number', 'sign',
                'experiment_number', 'second_variation_at', 'as_of_at', 'read_from', 'counts_from', 'counts_until',
                'departs_on', 'turn_date', 'days_between', 'label_source', 'label_name', 'label_middle', 'label_value',
                'is_positive', 'sample_weight', 'started_on', 'stored_started_at', 'slice_number', 'day_version',
                'y', 'd', 'x', 'w',
                'group', 'order', 'select', 'from', 'where', 'having', 'limit', 'union', 'case', 'when', 'then', 'else',
                'end', 'and', 'or', 'not', 'null', 'in', 'is', 'as', 'on', 'join', 'distinct', 'user', 'table',
                'column',
                'primary', 'references', 'check', 'default', 'grant', 'to', 'with', 'window', 'using', 'true', 'false',
            ],
            'allowed': 'a plain column name that neither SQL nor evalhouse uses itself',
        },
        'metric': {
            'name': {'kind': 'pattern', 'pattern': snake_case, 'required': true, 'allowed': snake_case_text},
            'description': {'kind': 'text', 'default': '', 'allowed': 'text'},
            'type': {'kind': 'choice', 'choices': types, 'required': true, 'allowed': types | join(', ')},
            'fact': dict(fact, required=true),
            'role': {
                'kind': 'choice', 'choices': ['goal', 'secondary', 'guardrail'], 'default': 'secondary',
                'allowed': 'goal, secondary, guardrail',
            },
            'direction': {
                'kind': 'choice', 'choices': ['increase', 'decrease'], 'default': 'increase',
                'allowed': 'increase, decrease',
            },
            'where': condition,
            'value': expression,
            'aggregate': aggregate,
            'denominator': {'kind': 'mapping', 'allowed': 'a mapping with the keys fact, where, value, aggregate'},
            'delay_hours': dict(delay, default=0),
            'window_hours': hours,
            'missing': {
                'kind': 'choice', 'choices': ['zero', 'exclude'], 'default': 'zero', 'allowed': 'zero, exclude'
            },
            'cap': {'kind': 'mapping', 'allowed': 'a mapping with the keys kind, value'},
            'cuped': boolean,
            'cuped_days': {
                'kind': 'number', 'above': 0, 'below': 20000, 'default': 14,
                'allowed': 'a number above 0 and below 20000'
            },
            'quantile': fraction,
            'quantile_of': {
                'kind': 'choice', 'choices': ['units', 'events'], 'default': 'units', 'allowed': 'units, events'
            },
            'steps': {'kind': 'list', 'default': [], 'allowed': 'a list of at least 2 steps'},
        },
        'metric_keys': {
            'proportion': every + ['where', 'value', 'missing'],
            'mean': every + ['where', 'value', 'aggregate', 'missing', 'cap', 'cuped', 'cuped_days'],
            'ratio': every + ['where', 'value', 'aggregate', 'denominator', 'missing', 'cap', 'cuped', 'cuped_days'],
            'quantile': every + ['where', 'value', 'aggregate', 'missing', 'quantile', 'quantile_of'],
            'retention': every + ['where', 'value', 'missing'],
            'participation': every + ['where', 'cap'],
            'funnel': every + ['steps'],
        },
        'metric_needs': {'ratio': ['denominator'], 'quantile': ['value', 'quantile'], 'funnel': ['steps']},
        'denominator': {'fact': fact, 'where': condition, 'value': expression, 'aggregate': aggregate},
        'cap': {
            'kind': {
                'kind': 'choice', 'choices': ['percentile', 'absolute'], 'required': true,
                'allowed': 'percentile, absolute',
            },
            'value': dict(positive, required=true),
        },
        'step': {'where': dict(condition, required=true), 'window_hours': positive},
        'fact': {
            'name': {
                'kind': 'pattern', 'required': true,
                'pattern': '(?!(?:outcomes|traces|turns|sessions|exposures)$)' ~ snake_case,
                'allowed': snake_case_text ~ ', not outcomes, traces, turns, sessions or exposures',
            },
            'relation': {
                'kind': 'pattern', 'pattern': relation, 'required': true,
                'allowed': 'table, schema.table or database.schema.table',
            },
            'unit_column': dict(column, required=true),
            'time_column': dict(column, required=true),
            'loaded_at_column': column,
        },
        'guardrail': {
            'metric': {'kind': 'text', 'required': true, 'allowed': 'the name of one of metrics'},
            'margin_absolute': not_negative,
            'margin_relative': not_negative,
            'action': {
                'kind': 'choice', 'choices': ['pause', 'rollback'], 'default': 'pause', 'allowed': 'pause, rollback'
            },
            'slices': {'kind': 'list', 'allowed': 'a list of protected dimensions'},
        },
        'drift': evalhouse._settings_drift_fields({
            'name': {'kind': 'pattern', 'pattern': snake_case, 'allowed': snake_case_text},
            'relation': relation, 'column': column, 'expression': expression, 'positive': positive,
            'not_negative': not_negative,
        }),
        'signals': {
            'rephrase_window_seconds': dict(within_a_day, default=300),
            'follow_up_window_seconds': dict(within_a_day, default=120),
            'abandonment_minutes': dict(minutes, default=30),
            'session_gap_minutes': dict(minutes, default=30),
            'rephrase_weights': {
                'kind': 'pattern', 'pattern': relation, 'allowed': 'table, schema.table or database.schema.table'
            },
        },
        'analysis': {
            'alpha': {
                'kind': 'number', 'above': 0, 'below': 0.5, 'default': 0.05,
                'allowed': 'a number above 0 and below 0.5',
            },
            'correction': {
                'kind': 'choice', 'choices': ['holm', 'bh', 'none'], 'default': 'holm', 'allowed': 'holm, bh, none'
            },
            'sequential_tuning': dict(positive, default=5000),
            'srm_alpha': dict(fraction, default=0.001),
            'relative_method': {
                'kind': 'choice', 'choices': ['fieller', 'delta'], 'default': 'fieller', 'allowed': 'fieller, delta'
            },
            'bayesian': boolean,
            'due_rollback': {
                'kind': 'choice', 'choices': ['error', 'warn'], 'default': 'error', 'allowed': 'error, warn'
            },
            'quality_drift': {
                'kind': 'choice', 'choices': ['error', 'warn'], 'default': 'warn', 'allowed': 'error, warn'
            },
            'lookback_days': {'kind': 'integer', 'least': 0, 'default': 3, 'allowed': 'a whole number, 0 or above'},
            'as_of': {'kind': 'timestamp', 'allowed': "null, 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'"},
        },
    }) -%}
{%- endmacro -%}
