{#- Aggregate over values in order, each standing for the ranks from `values_before` to `values_through` out of
    `values_in_slice`: the value at a fraction of the ranks, linear between neighbours (the usual continuous
    percentile), where the fraction may differ from group to group. -#}
{% macro order_statistic(fraction) -%}
    {%- set position = '((values_in_slice - 1) * ' ~ fraction ~ ')' -%}
    {%- set rank = 'floor(' ~ position ~ ')' -%}
    sum(
        case when values_before <= {{ rank }} and {{ rank }} < values_through
            then metric_value * (1 - ({{ position }} - {{ rank }})) else 0 end
        + case when values_before <= {{ rank }} + 1 and {{ rank }} + 1 < values_through
            then metric_value * ({{ position }} - {{ rank }}) else 0 end
    )
{%- endmacro %}
