{#- Columns of `turns`, and of what is kept for it, that the log does not give. One of the log with such a name does not
    come along. -#}
{% macro turn_signal_columns() -%}
    {{ return([
        'is_answered', 'next_trace_id', 'next_gap_seconds', 'next_similarity', 'is_mature', 'is_outcome_mature',
        'is_day_mature', 'is_rephrased', 'is_exact_retry', 'is_followed_up', 'is_last_turn', 'is_abandoned',
        'abandon_kind', 'repeats_previous', 'is_copied', 'is_retried', 'is_regenerated', 'is_stopped', 'is_edited',
        'is_thumbed_up', 'is_thumbed_down', 'is_rated', 'rating', 'is_completed', 'is_converted', 'is_escalated',
        'is_overridden', 'is_returned_to', 'is_over_render_limit', 'turn_number',
        'started_on', 'stored_started_at', 'definition_hash', 'day_state', 'day_version'
    ]) }}
{%- endmacro %}
