{#- No two rows agree in all of `columns`, nulls taken as equal: the grain of a table is what it says. -#}
{% test unique_grain(model, columns) %}
select
    {{ columns | join(',\n    ') }},
    count(*) as rows_of_grain
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}
