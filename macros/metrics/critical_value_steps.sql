{#- CTEs that add `critical_value` to one that has `tail` and `degrees_of_freedom`: Student's t with that upper tail, by
    a guess and two refinements, each a step of its own (see student_t_quantile_refine). The last one is refined_twice.
    -#}
{% macro critical_value_steps(of) -%}
guessed as {{ evalhouse.materialized() }} (
    select
        *,
        {{ evalhouse.student_t_quantile_guess('tail', 'degrees_of_freedom') }} as critical_guess
    from {{ of }}
),

refined_once as {{ evalhouse.materialized() }} (
    select
        *,
        {{ evalhouse.student_t_quantile_refine('critical_guess', 'tail', 'degrees_of_freedom') }} as critical_once
    from guessed
),

refined_twice as {{ evalhouse.materialized() }} (
    select
        *,
        {{ evalhouse.student_t_quantile_refine('critical_once', 'tail', 'degrees_of_freedom') }} as critical_value
    from refined_once
)
{%- endmacro %}
