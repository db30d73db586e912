{#- A timestamp moved by a number of seconds known at compile time. -#}
{% macro shifted(time, seconds) -%}
    {%- if seconds == 0 -%}
        {{ time }}
    {%- else -%}
        {{ evalhouse.time_added('second', seconds, time) }}
    {%- endif -%}
{%- endmacro %}
