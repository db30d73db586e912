{#- Sample covariance over the pairs of which neither is null. Redshift has none: its variances are centred as they go,
    so theirs is exact to what rounding leaves of the larger of the two. -#}
{% macro covar_samp(first_value, second_value) -%}
    {%- if target.type == 'redshift' -%}
        ((var_samp({{ first_value }} + {{ second_value }}) - var_samp({{ first_value }} - {{ second_value }})) / 4e0)
    {%- else -%}
        covar_samp({{ first_value }}, {{ second_value }})
    {%- endif -%}
{%- endmacro %}
