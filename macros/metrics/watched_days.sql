{#- For how many days after the one on which a turn starts something can still change what is said about it: no window
    of `signals` is longer than a day, and no answer takes longer than six hours. -#}
{% macro watched_days() -%}
    {{ return(2) }}
{%- endmacro %}
