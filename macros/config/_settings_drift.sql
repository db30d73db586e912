{#- The keys of drift_monitors, in the form of `_settings_fields`. -#}
{%- macro _settings_drift_fields(shared) -%}
    {%- set own = ['exposures', 'outcomes', 'traces', 'turns', 'sessions', 'evaluation_scores'] -%}
    {%- set kinds = ['numeric', 'categorical', 'text_length', 'text', 'embedding'] -%}
    {%- set roles = ['input', 'output', 'label'] -%}
    {%- set references = ['trailing', 'same_weekday', 'fixed', 'training'] -%}
    {%- do return({
        'monitor': {
            'name': dict(shared.name, required=true),
            'relation': {
                'kind': 'pattern', 'pattern': shared.relation, 'required': true,
                'allowed': own | join(', ') ~ ', or table, schema.table or database.schema.table',
            },
            'time_column': shared.column,
            'unit_column': shared.column,
            'features': {'kind': 'list', 'default': [], 'allowed': 'a list of features'},
            'performance': {'kind': 'list', 'default': [], 'allowed': 'a list of measures of quality'},
            'slices': {'kind': 'list', 'default': [], 'allowed': 'a list of column names'},
            'segments': {'kind': 'list', 'default': [], 'allowed': 'a list of column names'},
            'reference': {'kind': 'mapping', 'default': {}, 'allowed': 'a mapping with the key kind'},
            'window_days': {
                'kind': 'integer', 'least': 1, 'below': 93, 'default': 1, 'allowed': 'a whole number from 1 to 92'
            },
            'thresholds': {'kind': 'mapping', 'default': {}, 'allowed': 'a mapping with the keys warn, alert'},
            'sustained': {'kind': 'mapping', 'default': {}, 'allowed': 'a mapping with the keys windows, of'},
        },
        'own': {
            'exposures': ['exposures', 'exposed_at', 'unit_id'],
            'outcomes': ['outcomes', 'occurred_at', 'unit_id'],
            'traces': ['traces', 'started_at', 'unit_id'],
            'turns': ['traces', 'started_at', 'unit_id'],
            'sessions': ['traces', 'started_at', 'unit_id'],
            'evaluation_scores': ['evaluation_scores', 'evaluated_at', none],
        },
        'feature': {
            'name': dict(shared.name, required=true),
            'kind': {'kind': 'choice', 'choices': kinds, 'required': true, 'allowed': kinds | join(', ')},
            'value': shared.expression,
            'role': {'kind': 'choice', 'choices': roles, 'default': 'input', 'allowed': roles | join(', ')},
        },
        'performance': {
            'name': dict(shared.name, required=true),
            'value': dict(shared.expression, required=true),
            'denominator': shared.expression,
            'direction': {
                'kind': 'choice', 'choices': ['increase', 'decrease'], 'default': 'increase',
                'allowed': 'increase, decrease',
            },
            'margin_absolute': shared.not_negative,
            'labelled_at_column': shared.column,
        },
        'slice': {'pattern': shared.column.pattern, 'allowed': shared.column.allowed},
        'reference': {
            'kind': {
                'kind': 'choice', 'choices': references, 'default': 'trailing', 'allowed': references | join(', ')
            },
            'days': {
                'kind': 'integer', 'least': 1, 'below': 256, 'allowed': 'a whole number of days from 1 to 255'
            },
            'weeks': {'kind': 'integer', 'least': 1, 'below': 37, 'allowed': 'a whole number of weeks from 1 to 36'},
            'start': {'kind': 'timestamp', 'allowed': "'YYYY-MM-DD', the first day of the reference"},
            'end': {'kind': 'timestamp', 'allowed': "'YYYY-MM-DD', the day after the reference"},
            'relation': {
                'kind': 'pattern', 'pattern': shared.relation,
                'allowed': 'table, schema.table or database.schema.table, with the columns of the monitor',
            },
        },
        'reference_keys': {
            'trailing': {'days': 28}, 'same_weekday': {'weeks': 4}, 'fixed': {'start': none, 'end': none},
            'training': {'relation': none},
        },
        'thresholds': {
            'warn': dict(shared.positive, default=0.02),
            'alert': dict(shared.positive, default=0.1),
        },
        'sustained': {
            'windows': {'kind': 'integer', 'least': 1, 'below': 31, 'default': 2, 'allowed': 'a whole number, 1 to 30'},
            'of': {'kind': 'integer', 'least': 1, 'below': 31, 'default': 3, 'allowed': 'a whole number, 1 to 30'},
        },
    }) -%}
{%- endmacro -%}


{#- What is watched where nobody says what: every trace by day, and whether users have to ask again. -#}
{%- macro _settings_drift_default() -%}
    {%- do return([{
        'name': 'traces',
        'relation': 'turns',
        'features': [
            {'name': 'input_chars', 'kind': 'numeric'},
            {'name': 'language', 'kind': 'categorical'},
            {'name': 'query_category', 'kind': 'categorical'},
            {'name': 'surface', 'kind': 'categorical'},
            {'name': 'output_chars', 'kind': 'numeric', 'role': 'output'},
            {'name': 'latency_ms', 'kind': 'numeric', 'role': 'output'},
            {'name': 'status', 'kind': 'categorical', 'role': 'output'},
        ],
        'performance': [{
            'name': 'rephrase_rate',
            'value': 'case when is_rephrased then 1 when not is_rephrased then 0 end',
            'direction': 'decrease',
        }],
        'slices': ['language', 'query_category'],
    }]) -%}
{%- endmacro -%}


{%- macro _settings_drift_monitors(given, fields, inputs) -%}
    {%- set refuse = evalhouse._settings_refuse -%}
    {%- if given is none -%}
        {%- set given = evalhouse._settings_drift_default() if 'traces' in inputs else [] -%}
    {%- endif -%}
    {%- set items = evalhouse._settings_rows('drift_monitors', given, fields.monitor, 'name') -%}
    {#- Features are numbered over all monitors: what is sorted and grouped by the million goes by a number. -#}
    {%- set numbered = [] -%}
    {%- for path, monitor in items -%}
        {%- set own = fields.own.get(monitor.relation) -%}
        {%- if own and own[0] not in inputs -%}
            {%- do refuse(path ~ '.relation', monitor.relation, 'add ' ~ own[0] ~ ' to inputs') -%}
        {%- elif own -%}
            {%- do monitor.update({
                'time_column': monitor.time_column or own[1], 'unit_column': monitor.unit_column or own[2]
            }) -%}
        {%- elif monitor.time_column is none -%}
            {%- do refuse(path ~ '.time_column', none, 'a relation of your own needs it, allowed: a plain column name')
            -%}
        {%- endif -%}
        {%- if not monitor.features and not monitor.performance -%}
            {%- do refuse(path ~ '.features', none, 'give at least one of features or of performance') -%}
        {%- endif -%}
        {%- set features = evalhouse._settings_rows(path ~ '.features', monitor.features, fields.feature, 'name')
            | map('last') | list -%}
        {%- set performance = evalhouse._settings_rows(
            path ~ '.performance', monitor.performance, fields.performance, 'name'
        ) | map('last') | list -%}
        {%- set feature_names = features | map(attribute='name') | list -%}
        {%- for measure in performance if measure.name in feature_names -%}
            {%- do refuse(
                path ~ '.performance[' ~ loop.index0 ~ '].name', measure.name, 'choose another, a feature has it'
            ) -%}
        {%- endfor -%}
        {%- for feature in features -%}
            {%- do numbered.append(feature) -%}
            {%- do feature.update({'number': numbered | length, 'value': feature.value or feature.name}) -%}
        {%- endfor -%}
        {%- do monitor.update({
            'features': features,
            'performance': performance,
            'slices': evalhouse._settings_names(path ~ '.slices', monitor.slices, fields.slice),
            'segments': evalhouse._settings_names(path ~ '.segments', monitor.segments, fields.slice),
            'reference': evalhouse._settings_drift_reference(path, monitor, fields),
            'thresholds': evalhouse._settings_check(
                [[path ~ '.thresholds', monitor.thresholds]], fields.thresholds
            )[0],
            'sustained': evalhouse._settings_check([[path ~ '.sustained', monitor.sustained]], fields.sustained)[0],
        }) -%}
        {%- if monitor.thresholds.warn > monitor.thresholds.alert -%}
            {%- do refuse(
                path ~ '.thresholds.warn', monitor.thresholds.warn,
                'allowed: at most thresholds.alert, ' ~ monitor.thresholds.alert
            ) -%}
        {%- elif monitor.sustained.windows > monitor.sustained.of -%}
            {%- do refuse(
                path ~ '.sustained.windows', monitor.sustained.windows,
                'allowed: at most sustained.of, ' ~ monitor.sustained.of
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do return(items | map('last') | list) -%}
{%- endmacro -%}


{#- Which keys a reference has depends on its kind. -#}
{%- macro _settings_drift_reference(path, monitor, fields) -%}
    {%- set refuse = evalhouse._settings_refuse -%}
    {%- set path = path ~ '.reference' -%}
    {%- set reference = evalhouse._settings_check([[path, monitor.reference]], fields.reference)[0] -%}
    {%- set keys = fields.reference_keys[reference.kind] -%}
    {%- for key, value in reference.items() if key != 'kind' -%}
        {%- if key not in keys and value is not none -%}
            {%- do refuse(
                path ~ '.' ~ key, value,
                'remove it, the keys of a ' ~ reference.kind ~ ' reference are kind, ' ~ keys | join(', ')
            ) -%}
        {%- elif key in keys and value is none and keys[key] is none -%}
            {%- do refuse(
                path ~ '.' ~ key, none,
                'a ' ~ reference.kind ~ ' reference needs it, allowed: ' ~ fields.reference[key].allowed
            ) -%}
        {%- elif key in keys and value is none -%}
            {%- do reference.update({key: keys[key]}) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if reference.kind == 'fixed' -%}
        {%- do reference.update({'start': reference.start[:10], 'end': reference.end[:10]}) -%}
        {%- if reference.start >= reference.end -%}
            {%- do refuse(path ~ '.end', reference.end, 'allowed: a day after start, ' ~ reference.start) -%}
        {%- endif -%}
    {%- elif reference.kind == 'same_weekday' and monitor.window_days > 7 -%}
        {%- do refuse(
            path ~ '.kind', 'same_weekday', 'set window_days to at most 7, or take a trailing reference'
        ) -%}
    {%- endif -%}
    {%- do return(reference) -%}
{%- endmacro -%}
