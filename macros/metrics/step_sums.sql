{#- The metrics whose sums over units follow from the units that changed: those without a part of their own and those that
    move every day have other ways. -#}
{% macro stepwise_metrics() -%}
    {%- set metrics = [] -%}
    {%- for metric in evalhouse.metric_plan().metrics if evalhouse.metric_parts(metric) and not metric.moves_daily -%}
        {%- do metrics.append(metric) -%}
    {%- endfor -%}
    {{ return(metrics) }}
{%- endmacro %}

{#- The sums whose running totals give a metric's moments at every day, as a list of names: n (units that count), then
    one letter for the sum of a part and two for the sum of a product. -#}
{% macro step_sums(metric) -%}
    {%- set names = ['n'] -%}
    {%- for part in evalhouse.metric_parts(metric) -%}
        {%- do names.extend([part, part ~ part]) -%}
    {%- endfor -%}
    {{ return(names + evalhouse.moment_pairs(metric)) }}
{%- endmacro %}

{#- What one row of `changes` adds to such a sum: a value that begins to hold counts once, one that ends is taken back. -#}
{% macro step_sum(metric, name) -%}
    {%- set column = metric.name ~ '__' -%}
    {%- if name == 'n' -%}
        sum(case when {{ column }}y is not null then sign else 0 end)
    {%- elif name | length == 1 -%}
        sum(sign * {{ column }}{{ name }})
    {%- else -%}
        sum(sign * {{ column }}{{ name[0] }} * {{ column }}{{ name[1] }})
    {%- endif -%}
{%- endmacro %}

{#- A part measured from the experiment's centre: the sums of squares of large, alike values would otherwise cancel. -#}
{% macro centred_part(metric, part) -%}
    {{ evalhouse.unit_part(metric, part) }}
    {%- if metric.type == 'ratio' %} - bounds.{{ metric.name }}__{{ part }}_centre{% endif -%}
{%- endmacro %}

{#- The moments that `metric_moments` lists, from the running sums of centred parts, in the same order and by the same
    names. -#}
{% macro moments_of_sums(metric) -%}
    {%- set column = 'sums.' ~ metric.name ~ '__' -%}
    {%- set units = column ~ 'n' -%}
    {%- set moments = [{'name': 'units', 'sql': 'cast(' ~ units ~ ' as ' ~ dbt.type_bigint() ~ ')'}] -%}
    {%- for part in evalhouse.metric_parts(metric) -%}
        {%- do moments.append({'name': 'mean_' ~ part, 'sql': evalhouse.mean_of_sums(metric, part)}) -%}
        {%- do moments.append({
            'name': 'var_' ~ part, 'sql': evalhouse.variance_of_sums(units, column ~ part, column ~ part ~ part)
        }) -%}
    {%- endfor -%}
    {%- if metric.type in ['mean', 'participation'] -%}
        {%- do moments.append({'name': 'centre', 'sql': 'bounds.' ~ metric.name ~ '__y_centre'}) -%}
    {%- endif -%}
    {%- for pair in evalhouse.moment_pairs(metric) -%}
        {%- do moments.append({
            'name': 'cov_' ~ pair,
            'sql': '(' ~ column ~ pair ~ ' - ' ~ column ~ pair[0] ~ ' * ' ~ column ~ pair[1] ~ ' / nullif(' ~ units
                ~ ', 0)) / nullif(' ~ units ~ ' - 1, 0)'
        }) -%}
    {%- endfor -%}
    {{ return(moments) }}
{%- endmacro %}

{#- Mean of a part from its running sum, from where `unit_part` measures it. -#}
{% macro mean_of_sums(metric, part) -%}
    sums.{{ metric.name }}__{{ part }} / nullif(sums.{{ metric.name }}__n, 0)
    {%- if metric.type == 'ratio' %} + bounds.{{ metric.name }}__{{ part }}_centre{% endif -%}
{%- endmacro %}

{#- Sample variance from a sum and a sum of squares; what rounding leaves of no variance is none. -#}
{% macro variance_of_sums(units, total, squares) -%}
    case
        when {{ squares }} - {{ total }} * {{ total }} / nullif({{ units }}, 0) <= 1e-12 * {{ squares }} then 0
        else ({{ squares }} - {{ total }} * {{ total }} / nullif({{ units }}, 0)) / nullif({{ units }} - 1, 0)
    end
{%- endmacro %}
