{#- Columns of the traces input and their kinds, as `typed_input` wants them. -#}
{% macro trace_columns() -%}
    {{ return({
        'trace_id': 'text', 'unit_id': 'text', 'session_id': 'text', 'turn_index': 'double',
        'started_at': 'timestamp', 'ended_at': 'timestamp', 'latency_ms': 'double', 'ttft_ms': 'double',
        'input_text': 'text', 'output_text': 'text', 'input_hash': 'text', 'output_hash': 'text',
        'input_embedding': 'double_array', 'input_chars': 'double', 'output_chars': 'double',
        'input_tokens': 'double', 'output_tokens': 'double', 'cost_usd': 'double',
        'provider': 'text', 'model_version': 'text', 'prompt_version': 'text', 'app_version': 'text',
        'environment': 'text', 'status': 'text', 'error_type': 'text', 'finish_reason': 'text', 'surface': 'text',
        'render_limit_chars': 'double', 'language': 'text', 'query_category': 'text', 'is_shadow': 'boolean',
        'shadow_of_trace_id': 'text', 'sample_weight': 'double', 'loaded_at': 'timestamp'
    }) }}
{%- endmacro %}
