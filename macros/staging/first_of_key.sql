{#- Number of a row among those of its key, the one to keep first: the greatest of the preferred column wins (for loads:
    the latest), and the other columns break the tie, so that the kept row does not depend on the order of arrival. -#}
{% macro first_of_key(key, preferred, tie_breakers) -%}
    row_number() over (
        partition by {{ key | join(', ') }}
        order by {{ preferred }} desc nulls last
        {%- for column in tie_breakers %}, {{ column }} nulls last{% endfor %}
    )
{%- endmacro %}
