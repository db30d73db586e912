{#- For how many days after the one on which a turn starts something can still change what is said about it: the longest
    window, after an answer that took as long as any can. -#}
{% macro watched_days() -%}
    {%- set signals = evalhouse.settings().signals -%}
    {%- set longest_turn_seconds = 6 * 3600 -%}
    {%- set longest_window_seconds = [
        86400, signals.rephrase_window_seconds, signals.follow_up_window_seconds, signals.abandonment_minutes * 60
    ] | max -%}
    {{ return(((longest_turn_seconds + longest_window_seconds) / 86400) | round(0, 'ceil') | int) }}
{%- endmacro %}
