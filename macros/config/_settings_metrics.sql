{%- macro _settings_metrics(given, fields, inputs, facts) -%}
    {%- if given | length > 100 -%}
        {%- do exceptions.raise_compiler_error(
            'evalhouse: metrics has ' ~ given | length ~ ' entries; allowed: at most 100'
        ) -%}
    {%- endif -%}
    {%- set items = evalhouse._settings_rows('metrics', given, fields.metric, 'name') -%}
    {%- do evalhouse._settings_metric_types(items, given, fields) -%}
    {%- do evalhouse._settings_denominators(items, fields) -%}
    {%- do evalhouse._settings_caps(items, fields) -%}
    {%- do evalhouse._settings_steps(items, fields) -%}
    {%- set fact_names = ['outcomes', 'turns', 'sessions'] + facts | map(attribute='name') | list -%}
    {%- do evalhouse._settings_measures(items, fact_names, inputs) -%}
    {%- do return(items | map('last') | list) -%}
{%- endmacro -%}


{#- Which keys a metric has depends on its type. -#}
{%- macro _settings_metric_types(items, all_given, fields) -%}
    {%- set refuse = evalhouse._settings_refuse -%}
    {%- for path, metric in items -%}
        {%- set given = all_given[loop.index0] -%}
        {%- set type = metric['type'] -%}
        {%- set keys = fields['metric_keys'][type] -%}
        {%- for key in given if key not in keys and given[key] not in [none, fields['metric'][key]['default']] -%}
            {%- do refuse(
                path ~ '.' ~ key, given[key], 'remove it, the keys of a ' ~ type ~ ' metric are ' ~ keys | join(', ')
            ) -%}
        {%- endfor -%}
        {%- for key in fields['metric_needs'][type] if given.get(key) is none -%}
            {%- do refuse(
                path ~ '.' ~ key, none, 'a ' ~ type ~ ' metric needs it, allowed: ' ~ fields['metric'][key]['allowed']
            ) -%}
        {%- endfor -%}
        {%- if type == 'retention' and metric['delay_hours'] == 0 -%}
            {%- do refuse(
                path ~ '.delay_hours', given['delay_hours'] | default(none),
                'a retention metric needs it, allowed: a number above 0'
            ) -%}
        {%- elif type in ['proportion', 'retention'] and metric['missing'] == 'exclude' and metric['value'] is none -%}
            {%- do refuse(
                path ~ '.missing', 'exclude', 'set value as well: without it, a unit without a matching row is a zero'
            ) -%}
        {%- elif type == 'quantile' and metric['quantile_of'] == 'events' and given['aggregate'] is string -%}
            {%- do refuse(path ~ '.aggregate', given['aggregate'], 'remove it, or set quantile_of to units') -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro -%}


{%- macro _settings_denominators(items, fields) -%}
    {%- set ratios = items | selectattr('1.type', 'equalto', 'ratio') | list -%}
    {%- set given = [] -%}
    {%- for path, metric in ratios -%}
        {%- do given.append([path ~ '.denominator', metric['denominator']]) -%}
    {%- endfor -%}
    {%- for denominator in evalhouse._settings_check(given, fields.denominator) -%}
        {%- set metric = ratios[loop.index0][1] -%}
        {%- if denominator['fact'] is none -%}
            {%- do denominator.update({'fact': metric['fact']}) -%}
        {%- endif -%}
        {%- do metric.update({'denominator': denominator}) -%}
    {%- endfor -%}
{%- endmacro -%}


{%- macro _settings_caps(items, fields) -%}
    {%- set capped = items | rejectattr('1.cap', 'none') | list -%}
    {%- set given = [] -%}
    {%- for path, metric in capped -%}
        {%- do given.append([path ~ '.cap', metric['cap']]) -%}
    {%- endfor -%}
    {%- for cap in evalhouse._settings_check(given, fields.cap) -%}
        {%- if cap['kind'] == 'percentile' and not 0.5 <= cap['value'] < 1 -%}
            {%- do evalhouse._settings_refuse(
                given[loop.index0][0] ~ '.value', cap['value'], 'allowed: a number from 0.5 and below 1'
            ) -%}
        {%- endif -%}
        {%- do capped[loop.index0][1].update({'cap': cap}) -%}
    {%- endfor -%}
{%- endmacro -%}


{%- macro _settings_steps(items, fields) -%}
    {%- for path, metric in items if metric['type'] == 'funnel' -%}
        {%- if metric['steps'] | length < 2 -%}
            {%- do evalhouse._settings_refuse(
                path ~ '.steps', metric['steps'], 'allowed: ' ~ fields['metric']['steps']['allowed']
            ) -%}
        {%- endif -%}
        {%- set given = [] -%}
        {%- for step in metric['steps'] -%}
            {%- do given.append([path ~ '.steps[' ~ loop.index0 ~ ']', step]) -%}
        {%- endfor -%}
        {%- do metric.update({'steps': evalhouse._settings_check(given, fields.step)}) -%}
    {%- endfor -%}
{%- endmacro -%}


{#- Rules that a denominator shares with its metric. -#}
{%- macro _settings_measures(items, fact_names, inputs) -%}
    {%- set measures = items | list -%}
    {%- for path, metric in items if metric['denominator'] is not none -%}
        {%- do measures.append([path ~ '.denominator', metric['denominator']]) -%}
    {%- endfor -%}
    {%- set refuse = evalhouse._settings_refuse -%}
    {%- for path, measure in measures -%}
        {%- if measure['fact'] not in fact_names -%}
            {%- do refuse(path ~ '.fact', measure['fact'], 'allowed: ' ~ fact_names | join(', ')) -%}
        {%- elif measure['fact'] == 'outcomes' and 'outcomes' not in inputs -%}
            {%- do refuse(path ~ '.fact', measure['fact'], 'add outcomes to inputs') -%}
        {%- elif measure['fact'] in ['turns', 'sessions'] and 'traces' not in inputs -%}
            {%- do refuse(path ~ '.fact', measure['fact'], 'add traces to inputs') -%}
        {%- elif measure['value'] is none and measure['aggregate'] in ['max', 'count_distinct'] -%}
            {%- do refuse(path ~ '.value', none, 'aggregate ' ~ measure['aggregate'] ~ ' needs it') -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro -%}
