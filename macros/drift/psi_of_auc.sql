{#- PSI of a shift of a normal distribution that a classifier tells with this AUC: both are functions of the shift in
    standard deviations d, PSI = d^2 and AUC = Phi(d / sqrt 2). -#}
{% macro psi_of_auc(auc) -%}
    (case
        when {{ auc }} is null then null
        when {{ auc }} <= 5e-1 then 0e0
        else 2e0 * power({{ evalhouse.normal_quantile('least(' ~ auc ~ ', 9.99999e-1)') }}, 2)
    end)
{%- endmacro %}
