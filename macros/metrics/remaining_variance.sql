{#- Variance that CUPED leaves an arm; zero where the covariate explains everything but rounding. -#}
{% macro remaining_variance(variance, theta, covariate_variance, covariance) -%}
    case
        when {{ variance }} + {{ theta }} * {{ theta }} * {{ covariate_variance }} - 2 * {{ theta }} * {{ covariance }}
            <= 1e-12 * ({{ variance }} + {{ theta }} * {{ theta }} * {{ covariate_variance }}) then 0
        else {{ variance }} + {{ theta }} * {{ theta }} * {{ covariate_variance }} - 2 * {{ theta }} * {{ covariance }}
    end
{%- endmacro %}
