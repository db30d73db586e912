{#- Aggregates that a metric's estimates need, as a list of {name, sql}. The engines' variance and covariance aggregates
    are centred as they go, so a mean of 1e9 with variance 1 comes out right. -#}
{% macro metric_moments(metric) -%}
    {%- set parts = evalhouse.metric_parts(metric) -%}
    {%- set column = metric.name ~ '__' -%}
    {%- set moments = [] -%}
    {%- if parts -%}
        {%- do moments.append({'name': 'units', 'sql': 'count(' ~ column ~ 'y)'}) -%}
    {%- endif -%}
    {%- for part in parts -%}
        {%- do moments.append({'name': 'mean_' ~ part, 'sql': 'avg(' ~ column ~ part ~ ')'}) -%}
        {%- do moments.append({'name': 'var_' ~ part, 'sql': 'var_samp(' ~ column ~ part ~ ')'}) -%}
    {%- endfor -%}
    {%- if metric.type in ['mean', 'participation'] -%}
        {%- do moments.append({'name': 'centre', 'sql': 'max(' ~ column ~ 'centre)'}) -%}
    {%- endif -%}
    {%- for pair in evalhouse.moment_pairs(metric) -%}
        {%- do moments.append({
            'name': 'cov_' ~ pair, 'sql': evalhouse.covar_samp(column ~ pair[0], column ~ pair[1])
        }) -%}
    {%- endfor -%}
    {{ return(moments) }}
{%- endmacro %}

{#- The pairs of different parts whose covariance a metric's estimates need, as a list of two-letter names. -#}
{% macro moment_pairs(metric) -%}
    {%- set parts = evalhouse.metric_parts(metric) -%}
    {%- set pairs = [] -%}
    {%- if 'd' in parts -%}{%- do pairs.append('yd') -%}{%- endif -%}
    {%- if 'w' in parts -%}{%- do pairs.append('xw') -%}{%- endif -%}
    {%- if metric.cuped -%}
        {%- do pairs.append('yx') -%}
        {%- if 'd' in parts -%}{%- do pairs.extend(['yw', 'dx', 'dw']) -%}{%- endif -%}
    {%- endif -%}
    {{ return(pairs) }}
{%- endmacro %}
