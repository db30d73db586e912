{#-
    Pairs of metrics whose effects are set against each other: every goal with every other metric that is an average of
    units, two goals once. Quantiles have no value per unit that averages to them.

    Returns [{goal, other, products}], metrics as in the plan; products are the parts of each whose residuals are
    multiplied: z (the metric) and, with CUPED, c (its covariate).
-#}
{% macro metric_pairs() -%}
    {%- set pairs = [] -%}
    {%- set averages = [] -%}
    {%- for metric in evalhouse.metric_plan().metrics if metric.type != 'quantile' -%}
        {%- do averages.append(metric) -%}
    {%- endfor -%}
    {%- for goal in averages if goal.role == 'goal' -%}
        {%- set position = loop.index -%}
        {%- set goals_before = averages | selectattr('role', 'equalto', 'goal') | map(attribute='name') | list -%}
        {%- set goals_before = goals_before[:position] -%}
        {%- for other in averages if other.name not in goals_before -%}
            {%- set products = [] -%}
            {%- for goal_part in (['z', 'c'] if goal.cuped else ['z']) -%}
                {%- for other_part in (['z', 'c'] if other.cuped else ['z']) -%}
                    {%- do products.append([goal_part, other_part]) -%}
                {%- endfor -%}
            {%- endfor -%}
            {%- do pairs.append({'goal': goal, 'other': other, 'products': products}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(pairs) }}
{%- endmacro %}

{#- Distance of a unit from its arm, linearised for ratios: these average to zero over the units of the arm. -#}
{% macro unit_residual(metric, part) -%}
    {%- set columns = ['y', 'd'] if part == 'z' else ['x', 'w'] -%}
    {%- set value = 'unit_values.' ~ metric.name ~ '__' -%}
    {%- set mean = 'moments.' ~ metric.name ~ '__mean_' -%}
    {%- if metric.type == 'ratio' -%}
        {%- set mean_denominator = 'nullif(' ~ mean ~ columns[1] ~ ', 0)' -%}
        ({{ value ~ columns[0] }} - {{ mean ~ columns[0] }} / {{ mean_denominator }} * {{ value ~ columns[1] }})
        / {{ mean_denominator }}
    {%- else -%}
        {{ value ~ columns[0] }} - {{ mean ~ columns[0] }}
    {%- endif -%}
{%- endmacro %}
