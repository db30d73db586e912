{#-
    The one accessor of the package's configuration. It is not called `config`: a package macro of that name would
    shadow dbt's own `config()` in every model of the package.
-#}
{%- macro settings() -%}
    {%- set fields = evalhouse._settings_fields() -%}
    {%- set chosen, example = evalhouse._settings_chosen(fields) -%}

    {%- set inputs = evalhouse._settings_inputs(chosen.inputs, fields) -%}
    {%- set source_tables = evalhouse._settings_check(
        [['source_tables', chosen.source_tables]], fields.source_tables
    )[0] -%}
    {%- set dimensions = evalhouse._settings_names('dimensions', chosen.dimensions, fields.dimension) -%}
    {%- set protected_dimensions = evalhouse._settings_names(
        'protected_dimensions', chosen.protected_dimensions, fields.dimension, dimensions
    ) -%}
    {%- set facts = evalhouse._settings_rows('facts', chosen.facts, fields.fact, 'name') | map('last') | list -%}
    {%- set metrics = evalhouse._settings_metrics(chosen.metrics, fields, inputs, facts) -%}
    {%- set guardrails = evalhouse._settings_guardrails(chosen.guardrails, fields, metrics, protected_dimensions) -%}
    {%- set analysis = {} -%}
    {%- do analysis.update(example.get('analysis') or {}) -%}
    {%- do analysis.update(chosen.analysis) -%}

    {%- do return({
        'raw_schema': chosen.raw_schema,
        'source_tables': source_tables,
        'inputs': inputs,
        'dimensions': dimensions,
        'protected_dimensions': protected_dimensions,
        'metrics': metrics,
        'facts': facts,
        'guardrails': guardrails,
        'drift_monitors': evalhouse._settings_drift_monitors(chosen.drift_monitors, fields.drift, inputs),
        'signals': evalhouse._settings_check([['signals', chosen.signals]], fields.signals)[0],
        'analysis': evalhouse._settings_check([['analysis', analysis]], fields.analysis)[0],
    }) -%}
{%- endmacro -%}


{#- Every input asks this several times: the rest of the settings is left to those who need it. -#}
{%- macro has_input(name) -%}
    {%- set fields = evalhouse._settings_fields() -%}
    {%- do evalhouse._settings_names('has_input', [name], fields.input) -%}
    {%- set chosen, _ = evalhouse._settings_chosen(fields) -%}
    {%- do return(name in evalhouse._settings_inputs(chosen.inputs, fields)) -%}
{%- endmacro -%}


{%- macro example_is_active() -%}
    {%- do return(evalhouse._settings_example_applies(evalhouse._settings_given(evalhouse._settings_fields().root))) -%}
{%- endmacro -%}


{%- macro _settings_example_applies(given) -%}
    {%- set own_world = ['metrics', 'raw_schema', 'source_tables', 'inputs', 'facts'] | select('in', given) | list -%}
    {%- do return(project_name == 'evalhouse' and own_world | length == 0) -%}
{%- endmacro -%}


{#- The keys at the top, the example's where it applies, and the example itself. What is inside them is not checked. -#}
{%- macro _settings_chosen(fields) -%}
    {%- set given = evalhouse._settings_given(fields.root) -%}
    {%- set example = evalhouse.example_config() if evalhouse._settings_example_applies(given) else {} -%}
    {%- do return([evalhouse._settings_check([['', dict(example, **given)]], fields.root)[0], example]) -%}
{%- endmacro -%}


{#- What the user set, nulls left out. Refuses a key that evalhouse does not read. -#}
{%- macro _settings_given(root_fields) -%}
    {%- set scoped = {} -%}
    {#- dbt v2's var has no such member: there a misspelt key is not noticed, everything else works. -#}
    {%- if var.packages_for_node is defined -%}
        {%- for project in var.packages_for_node() -%}
            {%- do scoped.update(project.vars.to_dict().get('evalhouse') or {}) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set command_line = (invocation_args_dict or {}).get('vars') -%}
    {%- set command_line = command_line if command_line is mapping else {} -%}
    {%- if 'evalhouse' in command_line -%}
        {%- do evalhouse._settings_refuse(
            '--vars evalhouse', command_line['evalhouse'], 'give its keys at the top of --vars instead'
        ) -%}
    {%- endif -%}

    {#- Command-line variables are shared by all packages: in a user's project an unknown one is not ours to refuse. -#}
    {%- set checked = (scoped.keys() | list) + (command_line.keys() | list if project_name == 'evalhouse' else []) -%}
    {%- for key in checked if key not in root_fields -%}
        {%- do evalhouse._settings_refuse_key(key, root_fields) -%}
    {%- endfor -%}

    {%- set given = {} -%}
    {%- for key in root_fields -%}
        {#- Called from a model of the user's own, var() does not see the keys under evalhouse. -#}
        {%- set value = var(key, none) -%}
        {%- set value = scoped.get(key) if value is none else value -%}
        {%- if value is not none -%}
            {%- do given.update({key: value}) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do return(given) -%}
{%- endmacro -%}


{%- macro _settings_inputs(given, fields) -%}
    {%- set inputs = evalhouse._settings_names('inputs', given, fields.input) -%}
    {%- if 'exposures' not in inputs -%}
        {%- do evalhouse._settings_refuse('inputs', given, 'add exposures, which every mart needs') -%}
    {%- endif -%}
    {%- do return(inputs) -%}
{%- endmacro -%}


{%- macro _settings_guardrails(given, fields, metrics, protected_dimensions) -%}
    {%- set items = evalhouse._settings_rows('guardrails', given, fields.guardrail, 'metric') -%}
    {%- set metric_names = metrics | map(attribute='name') | list -%}
    {%- for path, guardrail in items -%}
        {%- if guardrail.metric not in metric_names -%}
            {%- do evalhouse._settings_refuse(
                path ~ '.metric', guardrail.metric,
                'allowed: ' ~ (metric_names | join(', ') or 'nothing, as metrics is empty')
            ) -%}
        {%- endif -%}
        {%- set margins = [guardrail.margin_absolute, guardrail.margin_relative] | reject('none') | list -%}
        {%- if margins | length == 0 -%}
            {%- do evalhouse._settings_refuse(path ~ '.margin_absolute', none, 'give it or margin_relative') -%}
        {%- elif margins | length == 2 -%}
            {%- do evalhouse._settings_refuse(
                path ~ '.margin_relative', guardrail.margin_relative, 'give it or margin_absolute, not both'
            ) -%}
        {%- endif -%}
        {%- if guardrail.slices is none -%}
            {%- do guardrail.update({'slices': protected_dimensions | list}) -%}
        {%- else -%}
            {%- set slice_field = {
                'choices': protected_dimensions,
                'allowed': protected_dimensions | join(', ') or 'nothing, as protected_dimensions is empty',
            } -%}
            {%- do guardrail.update({
                'slices': evalhouse._settings_names(path ~ '.slices', guardrail.slices, slice_field)
            }) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do return(items | map('last') | list) -%}
{%- endmacro -%}
