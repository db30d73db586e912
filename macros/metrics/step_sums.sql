{#- The metrics whose sums over units follow from the units that changed: those without a part of their own and those
    that move every day have other ways. -#}
{% macro stepwise_metrics() -%}
    {%- set metrics = [] -%}
    {%- for metric in evalhouse.metric_plan().metrics if evalhouse.metric_parts(metric) and not metric.moves_daily -%}
        {%- do metrics.append(metric) -%}
    {%- endfor -%}
    {{ return(metrics) }}
{%- endmacro %}

{#- Whether a metric's values are measured from a centre and the zeros among them told apart. Of a mean of 1e9 the units
    that have nothing yet would else enter as squares of 1e9, and the digits that these cost do not come back with their
    taking away. -#}
{% macro has_zeros_apart(metric) -%}
    {{ return(metric.type in ['mean', 'participation']) }}
{%- endmacro %}

{#- Names of the counts among a metric's step sums: n, the units that count, and z, those with a value of zero. -#}
{% macro step_counts(metric) -%}
    {{ return(['n', 'z'] if evalhouse.has_zeros_apart(metric) else ['n']) }}
{%- endmacro %}

{#- The sums whose running totals give a metric's moments at every day, as a list of names: the counts, then one letter
    for the sum of a part and two for the sum of a product. -#}
{% macro step_sums(metric) -%}
    {%- set names = evalhouse.step_counts(metric) -%}
    {%- for part in evalhouse.metric_parts(metric) -%}
        {%- do names.extend([part, part ~ part]) -%}
    {%- endfor -%}
    {%- if metric.cuped and evalhouse.has_zeros_apart(metric) -%}
        {%- do names.append('zx') -%}
    {%- endif -%}
    {{ return(names + evalhouse.moment_pairs(metric)) }}
{%- endmacro %}

{#- Every name that `step_sums` may give, and the covariance of every pair of parts. -#}
{% macro step_sum_names() -%}
    {{ return([
        'n', 'z', 'y', 'yy', 'd', 'dd', 'x', 'xx', 'w', 'ww', 'zx', 'yd', 'xw', 'yx', 'yw', 'dx', 'dw'
    ]) }}
{%- endmacro %}

{#- What one row of `changes` adds to such a sum: a value that begins to hold counts once, one that ends is taken
    back. -#}
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

{#- Columns <metric>__<part> of a metric's parts, measured from the arm's centre: the sums of squares of large,
    alike values would otherwise cancel. Where zeros are told apart, <metric>__z is 1 for a zero, whose y stays 0. -#}
{% macro centred_parts(metric) -%}
    {%- for part in evalhouse.metric_parts(metric) -%}
        {%- set value = evalhouse.unit_part(metric, part, is_centred=false) -%}
        {%- if evalhouse.has_zeros_apart(metric) and part == 'y' -%}
            case when {{ value }} = 0 then 0 else {{ value }} - {{ evalhouse.centre_of_part(metric, part) }} end
                as {{ metric.name }}__y,
            case when {{ value }} = 0 then 1 when {{ value }} is not null then 0 end as {{ metric.name }}__z
        {%- else -%}
            {{ value }}
            {%- if metric.type in ['mean', 'participation', 'ratio'] %} - {{ evalhouse.centre_of_part(metric, part) }}
            {%- endif %} as {{ metric.name }}__{{ part }}
        {%- endif -%}
        {{ ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{#- Where a part is measured from; an arm that has lost all of its units has no centre any more. -#}
{% macro centre_of_part(metric, part) -%}
    coalesce(bounds.{{ metric.name }}__{{ part }}_centre, 0)
{%- endmacro %}

{#- Where the means of all arms are told from. -#}
{% macro common_centre(metric, part) -%}
    coalesce(bounds.{{ metric.name }}__{{ part }}_common, 0)
{%- endmacro %}

{#- The moments that `metric_moments` lists, from the running sums of centred parts, in the same order and by the same
    names. -#}
{% macro moments_of_sums(metric) -%}
    {%- set column = 'sums.' ~ metric.name ~ '__' -%}
    {%- set units = column ~ 'n' -%}
    {%- set moments = [{'name': 'units', 'sql': 'cast(' ~ units ~ ' as ' ~ dbt.type_bigint() ~ ')'}] -%}
    {%- for part in evalhouse.metric_parts(metric) -%}
        {%- do moments.append({'name': 'mean_' ~ part, 'sql': evalhouse.mean_of_sums(metric, part)}) -%}
        {%- if evalhouse.has_zeros_apart(metric) and part == 'y' -%}
            {%- set variance = evalhouse.variance_with_zeros(
                units, column ~ 'z', column ~ 'y', column ~ 'yy', evalhouse.centre_of_part(metric, 'y')
            ) -%}
        {%- else -%}
            {%- set variance = evalhouse.variance_of_sums(units, column ~ part, column ~ part ~ part) -%}
        {%- endif -%}
        {%- do moments.append({'name': 'var_' ~ part, 'sql': variance}) -%}
    {%- endfor -%}
    {%- if evalhouse.has_zeros_apart(metric) -%}
        {%- do moments.append({'name': 'centre', 'sql': evalhouse.common_centre(metric, 'y')}) -%}
    {%- endif -%}
    {%- for pair in evalhouse.moment_pairs(metric) -%}
        {%- set products = column ~ pair -%}
        {%- set first_sum = column ~ pair[0] -%}
        {%- if evalhouse.has_zeros_apart(metric) -%}
            {%- set centre = evalhouse.centre_of_part(metric, 'y') -%}
            {%- set products = '(' ~ products ~ ' - ' ~ centre ~ ' * ' ~ column ~ 'zx)' -%}
            {%- set first_sum = '(' ~ first_sum ~ ' - ' ~ centre ~ ' * ' ~ column ~ 'z)' -%}
        {%- endif -%}
        {%- do moments.append({
            'name': 'cov_' ~ pair,
            'sql': '(' ~ products ~ ' - ' ~ first_sum ~ ' * ' ~ column ~ pair[1] ~ ' / nullif(' ~ units
                ~ ', 0)) / nullif(' ~ units ~ ' - 1, 0)'
        }) -%}
    {%- endfor -%}
    {{ return(moments) }}
{%- endmacro %}

{#- Mean of a part from its running sum, of a mean from the common centre. Where all are zero, so is the sum, whatever
    rounding left of it. -#}
{% macro mean_of_sums(metric, part) -%}
    {%- set column = 'sums.' ~ metric.name ~ '__' -%}
    {%- if evalhouse.has_zeros_apart(metric) and part == 'y' -%}
        (
            case when {{ column }}z = {{ column }}n then 0 else {{ column }}y end
            - {{ evalhouse.centre_of_part(metric, 'y') }} * {{ column }}z
        ) / nullif({{ column }}n, 0)
    {%- else -%}
        {{ column }}{{ part }} / nullif({{ column }}n, 0)
    {%- endif -%}
    {%- if metric.type == 'ratio' %} + {{ evalhouse.centre_of_part(metric, part) }}
    {%- elif evalhouse.has_zeros_apart(metric) %}
        + ({{ evalhouse.centre_of_part(metric, part) }} - {{ evalhouse.common_centre(metric, part) }})
    {%- endif -%}
{%- endmacro %}

{#- Sample variance from a sum and a sum of squares, null for a single unit; what rounding leaves of no variance is
    none. -#}
{% macro variance_of_sums(units, total, squares) -%}
    case
        when {{ units }} <= 1 then null
        else {{ evalhouse.squares_about_mean(units, total, squares) }} / nullif({{ units }} - 1, 0)
    end
{%- endmacro %}

{#- The same where `zeros` of the units are zero and the sums, from `centre`, are of the others: the squares within the
    others and those between the two groups. -#}
{% macro variance_with_zeros(units, zeros, total, squares, centre) -%}
    {%- set others = '(' ~ units ~ ' - ' ~ zeros ~ ')' -%}
    case
        when {{ units }} <= 1 then null
        when {{ zeros }} = {{ units }} then 0
        else (
            {{ evalhouse.squares_about_mean(others, total, squares) }}
            + {{ zeros }} * {{ others }} / {{ units }}
            * ({{ total }} / nullif({{ others }}, 0) + {{ centre }})
            * ({{ total }} / nullif({{ others }}, 0) + {{ centre }})
        ) / nullif({{ units }} - 1, 0)
    end
{%- endmacro %}

{#- Sum of squared distances from the mean; what rounding leaves of nothing is nothing. -#}
{% macro squares_about_mean(units, total, squares) -%}
    case
        when {{ squares }} - {{ total }} * {{ total }} / nullif({{ units }}, 0) <= 1e-12 * {{ squares }} then 0
        else {{ squares }} - {{ total }} * {{ total }} / nullif({{ units }}, 0)
    end
{%- endmacro %}
