{#-
    One step of Newton's method. Below 1.5 on the tail as a function of t. Above on its logarithm as a function of
    y = (dof / 2) ln(1 + t^2 / dof), where it is nearly a straight line of slope -1 / (S tau) with S the sum of
    _student_t_tail_sum and tau = t / sqrt(dof + t^2).
-#}
{% macro student_t_quantile_refine(guess, tail, dof) -%}
    {%- set t = evalhouse._double(guess) -%}
    {%- set p = evalhouse._double(tail) -%}
    {%- set v = 'least(' ~ evalhouse._double(dof) ~ ', 3e8)' -%}
    {%- set centre_v = 'least(' ~ evalhouse._double(dof) ~ ', 1e8)' -%}
    {%- set centre_t = 'greatest(' ~ t ~ ', 1e-30)' -%}
    {%- set small_v = 'least(' ~ evalhouse._double(dof) ~ ', 1e6)' -%}
    {%- set spread = '(1e0 + power(' ~ t ~ ', 2) / ' ~ v ~ ')' -%}
    (case
        when {{ t }} is null or {{ p }} is null or {{ evalhouse._double(dof) }} is null then null
        when {{ t }} < 0 or {{ t }} > 1e140 then null
        when {{ p }} <= 0 or {{ p }} > 5e-1 or {{ evalhouse._double(dof) }} < 9.99e-1 then null
        when {{ t }} < 1.5e0
            then greatest(0e0, {{ centre_t }} + (
                (5e-1 - {{ p }}) / {{ evalhouse._student_t_density_at_zero(centre_v) }}
                - {{ evalhouse._student_t_centre(centre_t, centre_v) }}
            ) * exp((5e-1 * {{ centre_v }} + 5e-1) * ln(1e0 + power({{ centre_t }}, 2) / {{ centre_v }})))
        else sqrt(greatest(0e0,
            {{ spread }} * {{ small_v }} * exp(greatest(-6e2, least(6.3e2 - ln({{ spread }}), (2e0 / {{ small_v }}) * (
                ln({{ evalhouse._student_t_density_at_zero(v) }} / sqrt({{ v }}))
                - {{ evalhouse._student_t_exponent(t, v) }}
                + ln({{ evalhouse._student_t_tail_sum(t, v) }})
                - ln({{ p }})
            ) * {{ evalhouse._student_t_tail_sum(t, v) }} * ({{ t }} / sqrt({{ v }}) / sqrt({{ spread }})))))
            - {{ small_v }}
            - power({{ t }}, 2) * ({{ small_v }} / {{ v }} - 1e0)
        ))
    end)
{%- endmacro %}
