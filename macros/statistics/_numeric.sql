{#- Constants carry an exponent (5e-1, not 0.5): a plain 0.5 is a decimal on DuckDB and makes decimal arithmetic. -#}
{% macro _double(expression) -%}
    cast({{ expression }} as {{ evalhouse.type_double() | trim }})
{%- endmacro %}

{#- Horner's scheme; coefficients from the constant term up. -#}
{% macro _polynomial(variable, coefficients) -%}
    ({{ coefficients | join(' + ' ~ variable ~ ' * (') }}{{ ')' * (coefficients | length) }}
{%- endmacro %}

{#- ln(1 + d) to full precision for small d (Kahan): the rounding of 1 + d cancels in the quotient. -#}
{% macro _ln_one_plus(d) -%}
    (case
        when 1e0 + {{ d }} = 1e0 then {{ d }}
        else ln(1e0 + {{ d }}) * ({{ d }} / ((1e0 + {{ d }}) - 1e0))
    end)
{%- endmacro %}

{#- The value for a variable below zero is one minus the upper tail of its absolute value. -#}
{% macro _reflect(variable, upper_tail) -%}
    (
        case when {{ variable }} < 0 then 1e0 else 0e0 end
        + case when {{ variable }} < 0 then -1e0 else 1e0 end * {{ upper_tail }}
    )
{%- endmacro %}
