{#- The weighted sum of the features, both given by the aliases of their relations; that of the weights has one row. -#}
{% macro rephrase_logit(features, weights) -%}
    {{ weights }}.intercept
    {%- for name in evalhouse.rephrase_feature_names() %}
    + {{ weights }}.{{ name }} * {{ features }}.{{ name }}
    {%- endfor %}
{%- endmacro %}
