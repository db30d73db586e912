{#- The integers 0 to 255, for sums whose terms are numbered. -#}
-- depends_on: {{ ref('evalhouse', 'run_gate') }}
with digits as (
    {%- for digit in range(16) %}
    select {{ digit }} as digit
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select 16 * sixteens.digit + ones.digit as n
from digits as sixteens
cross join digits as ones
