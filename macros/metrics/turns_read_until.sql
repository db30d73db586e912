{#- The newest day of what is said about turns: of the turns, or of the outcomes where those do not come as far. -#}
{% macro turns_read_until(newest_turn_day) -%}
least(
    {{ newest_turn_day }},
    coalesce(
        (
            select cast(max(newest_at) as date) from {{ ref('evalhouse', 'int_watermarks') }}
            where source_name = 'outcomes'
        ),
        {{ evalhouse.current_look() }}
    )
)
{%- endmacro %}
