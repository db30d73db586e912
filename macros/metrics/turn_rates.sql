{#- When a turn can be counted: {name, known: it is known whether the thing happened, awaited: it will be}. -#}
{% macro turn_bases() -%}
    {%- set answered = "(is_answered or status in ('error', 'timeout', 'refusal') or output_chars = 0)" -%}
    {{ return([
        {'name': 'logged', 'known': '1 = 1', 'awaited': '1 = 0'},
        {'name': 'measured', 'known': "status = 'ok' and output_chars is not null", 'awaited': '1 = 0'},
        {'name': 'rendered', 'known': 'is_over_render_limit is not null', 'awaited': '1 = 0'},
        {'name': 'finished', 'known': 'finish_reason is not null', 'awaited': '1 = 0'},
        {'name': 'worded', 'known': 'output_text is not null', 'awaited': '1 = 0'},
        {'name': 'rephrasing', 'known': 'is_rephrased is not null', 'awaited': 'not is_mature'},
        {'name': 'retrying', 'known': 'is_exact_retry is not null and is_outcome_mature',
            'awaited': 'not is_outcome_mature'},
        {'name': 'following', 'known': 'is_followed_up is not null', 'awaited': 'not is_mature'},
        {'name': 'departure', 'known': 'is_outcome_mature and is_abandoned is not null',
            'awaited': 'not is_outcome_mature and ' ~ answered},
        {'name': 'outcome', 'known': 'is_outcome_mature', 'awaited': 'not is_outcome_mature'},
        {'name': 'day', 'known': 'is_outcome_mature and is_day_mature',
            'awaited': 'not (is_outcome_mature and is_day_mature)'}
    ]) }}
{%- endmacro %}

{#- The published signals: {name, base, condition}. Without outcomes there are none of those that come from them. -#}
{% macro signal_rules() -%}
    {%- set rules = [
        {'name': 'rephrase', 'base': 'rephrasing', 'condition': 'is_rephrased'},
        {'name': 'exact_retry', 'base': 'retrying', 'condition': 'is_exact_retry'},
        {'name': 'follow_up', 'base': 'following', 'condition': 'is_followed_up'},
        {'name': 'abandonment', 'base': 'departure', 'condition': 'is_abandoned'},
        {'name': 'abandonment_after_negative', 'base': 'departure', 'condition': "abandon_kind = 'after_negative'"},
        {'name': 'copy', 'base': 'outcome', 'condition': 'is_copied'},
        {'name': 'escalation', 'base': 'day', 'condition': 'is_escalated'},
        {'name': 'regenerate', 'base': 'outcome', 'condition': 'is_regenerated'},
        {'name': 'stop', 'base': 'outcome', 'condition': 'is_stopped'},
        {'name': 'thumbs_up', 'base': 'outcome', 'condition': 'is_thumbed_up'},
        {'name': 'thumbs_down', 'base': 'outcome', 'condition': 'is_thumbed_down'},
        {'name': 'feedback_response', 'base': 'outcome', 'condition': '(is_thumbed_up or is_thumbed_down or is_rated)'},
        {'name': 'human_override', 'base': 'day', 'condition': 'is_overridden'},
        {'name': 'return_visit', 'base': 'day', 'condition': 'is_returned_to'}
    ] -%}
    {{ return(evalhouse._with_known_bases(rules)) }}
{%- endmacro %}

{#- The taxonomy of failures, the gravest first: {name, base, condition}. -#}
{% macro failure_mode_rules() -%}
    {%- set fence = "replace(output_text, '```', '')" -%}
    {%- set rules = [
        {'name': 'error', 'base': 'logged', 'condition': "status = 'error'"},
        {'name': 'timeout', 'base': 'logged', 'condition': "status = 'timeout'"},
        {'name': 'refusal', 'base': 'logged', 'condition': "status = 'refusal'"},
        {'name': 'empty_answer', 'base': 'measured', 'condition': 'output_chars = 0'},
        {'name': 'format_truncated', 'base': 'finished',
            'condition': "lower(finish_reason) in ('length', 'max_tokens', 'max_output_tokens', 'model_length')"},
        {'name': 'format_unclosed_code', 'base': 'worded',
            'condition': 'mod(length(output_text) - length(' ~ fence ~ '), 6) = 3'},
        {'name': 'over_render_limit', 'base': 'rendered', 'condition': 'is_over_render_limit'},
        {'name': 'human_overridden', 'base': 'day', 'condition': 'is_overridden'},
        {'name': 'escalated', 'base': 'day', 'condition': 'is_escalated'},
        {'name': 'thumbed_down', 'base': 'outcome', 'condition': 'is_thumbed_down'},
        {'name': 'retried_three_times', 'base': 'retrying', 'condition': 'repeats_in_a_row >= 3'},
        {'name': 'abandoned_after_negative', 'base': 'departure', 'condition': "abandon_kind = 'after_negative'"},
        {'name': 'rephrased', 'base': 'rephrasing', 'condition': 'is_rephrased'}
    ] -%}
    {{ return(evalhouse._with_known_bases(rules)) }}
{%- endmacro %}

{% macro _with_known_bases(rules) -%}
    {%- if evalhouse.has_input('outcomes') -%}{{ return(rules) }}{%- endif -%}
    {{ return(rules | rejectattr('base', 'in', ['outcome', 'day']) | list) }}
{%- endmacro %}

{#- Every rate over turns that is counted by day: signals, failures, and what a trace's status tells. -#}
{% macro turn_rates() -%}
    {{ return(
        evalhouse.signal_rules() + evalhouse.failure_mode_rules()
        + [{'name': 'cancelled', 'base': 'logged', 'condition': "status = 'cancelled'"}]
    ) }}
{%- endmacro %}

{#- The bases that some of the rules need. -#}
{% macro bases_of_rules(rules) -%}
    {%- set used = rules | map(attribute='base') | unique | list -%}
    {{ return(evalhouse.turn_bases() | selectattr('name', 'in', used) | list) }}
{%- endmacro %}

{#- The condition under which a turn is one of the rule's, spelt out with its base. -#}
{% macro known_condition(rule) -%}
    {%- set base = (evalhouse.turn_bases() | selectattr('name', 'equalto', rule.base) | list)[0] -%}
    {{ return('(' ~ base.known ~ ') and ' ~ rule.condition) }}
{%- endmacro %}

{#- The dimensions that the daily marts of turns slice by; the model version is in their key. -#}
{% macro turn_slices() -%}
    {{ return(evalhouse.trace_dimensions() | rejectattr('name', 'equalto', 'model_version') | list) }}
{%- endmacro %}

{#- The columns with sums over units that int_unit_rate_sums has for every rate and its base. -#}
{% macro unit_sum_columns() -%}
    {%- set columns = [] -%}
    {%- for base in evalhouse.bases_of_rules(evalhouse.turn_rates()) -%}
        {%- for suffix in ['units', 'weight', 'squares'] -%}
            {%- do columns.append(base.name ~ '__' ~ suffix) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for rate in evalhouse.turn_rates() -%}
        {%- for suffix in ['units_with', 'units_without', 'weight', 'squares', 'products'] -%}
            {%- do columns.append(rate.name ~ '__' ~ suffix) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(columns) }}
{%- endmacro %}
