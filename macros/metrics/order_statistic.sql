{#- Aggregate over rows numbered by `value_rank` out of `values_in_slice`: the value at a fraction of the ranks, linear
    between neighbours (the usual continuous percentile), where the fraction may differ from group to group. -#}
{% macro order_statistic(fraction) -%}
    {%- set position = '((values_in_slice - 1) * ' ~ fraction ~ ')' -%}
    sum(case
        when value_rank - 1 = floor({{ position }}) then metric_value * (1 - ({{ position }} - floor({{ position }})))
        when value_rank - 1 = floor({{ position }}) + 1 then metric_value * ({{ position }} - floor({{ position }}))
    end)
{%- endmacro %}
