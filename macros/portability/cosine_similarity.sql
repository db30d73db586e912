{#- Of two arrays of numbers; null where either is null, has another length, or has no direction. -#}
{% macro cosine_similarity(first_array, second_array) -%}
    {{ return(adapter.dispatch('cosine_similarity', 'evalhouse')(first_array, second_array)) }}
{%- endmacro %}

{% macro default__cosine_similarity(first_array, second_array) -%}
    case
        when size({{ first_array }}) = size({{ second_array }})
            then
                aggregate(
                    zip_with({{ first_array }}, {{ second_array }}, (a, b) -> a * b),
                    cast(0 as double), (total, v) -> total + v
                )
                / nullif(
                    sqrt(aggregate({{ first_array }}, cast(0 as double), (total, v) -> total + v * v))
                    * sqrt(aggregate({{ second_array }}, cast(0 as double), (total, v) -> total + v * v)),
                    0
                )
    end
{%- endmacro %}

{% macro duckdb__cosine_similarity(first_array, second_array) -%}
    case
        when len({{ first_array }}) = len({{ second_array }}) and len({{ first_array }}) > 0
            and list_aggregate({{ first_array }}, 'count') = len({{ first_array }})
            and list_aggregate({{ second_array }}, 'count') = len({{ second_array }})
            then
                list_dot_product(cast({{ first_array }} as double[]), cast({{ second_array }} as double[]))
                / nullif(
                    sqrt(list_dot_product(cast({{ first_array }} as double[]), cast({{ first_array }} as double[])))
                    * sqrt(
                        list_dot_product(cast({{ second_array }} as double[]), cast({{ second_array }} as double[]))
                    ),
                    0
                )
    end
{%- endmacro %}

{% macro postgres__cosine_similarity(first_array, second_array) -%}
    case
        when cardinality({{ first_array }}) = cardinality({{ second_array }})
            then
                (
                    select sum(a * b) / nullif(sqrt(sum(a * a)) * sqrt(sum(b * b)), 0)
                    from unnest({{ first_array }}, {{ second_array }}) as pair (a, b)
                )
    end
{%- endmacro %}

{% macro snowflake__cosine_similarity(first_array, second_array) -%}
    case
        when array_size({{ first_array }}) = array_size({{ second_array }})
            then
                reduce(
                    arrays_zip({{ first_array }}, {{ second_array }}),
                    cast(0 as double),
                    (total, pair) -> total + cast(pair:"$1" as double) * cast(pair:"$2" as double)
                )
                / nullif(
                    sqrt(reduce({{ first_array }}, cast(0 as double), (total, v) -> total + v * v))
                    * sqrt(reduce({{ second_array }}, cast(0 as double), (total, v) -> total + v * v)),
                    0
                )
    end
{%- endmacro %}

{% macro bigquery__cosine_similarity(first_array, second_array) -%}
    case
        when array_length({{ first_array }}) = array_length({{ second_array }})
            then
                (
                    select sum(a * b) / nullif(sqrt(sum(a * a)) * sqrt(sum(b * b)), 0)
                    from unnest({{ first_array }}) as a with offset as place
                    inner join unnest({{ second_array }}) as b with offset as other_place on place = other_place
                )
    end
{%- endmacro %}

{#- Redshift has neither a function over two arrays nor a subquery that may unnest them in a row: no cosine there. -#}
{% macro redshift__cosine_similarity(first_array, second_array) -%}
    cast(null as double precision)
{%- endmacro %}
