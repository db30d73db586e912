{% macro student_t_two_sided_p(t, dof) -%}
    {%- set t_value = evalhouse._double(t) -%}
    {%- set dof_value = evalhouse._double(dof) -%}
    (case
        when {{ t_value }} is null or {{ dof_value }} is null or {{ dof_value }} < 9.99e-1 then null
        else {{ evalhouse._student_t_p(t_value, dof_value, 2) }}
    end)
{%- endmacro %}
