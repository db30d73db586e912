{#- Totals over turns and over units for every daily rate, side by side. -#}
{%- set key = 'turn_date, model_version, dimension_name, dimension_value' %}

with turn_sums as (
    select * from {{ ref('evalhouse', 'int_turn_sums') }}
),

unit_sums as (
    select * from {{ ref('evalhouse', 'int_unit_rate_sums') }}
    where dimension_name <> ''
)

select
    turn_sums.*,
    unit_sums.{{ evalhouse.unit_sum_columns() | join(',\n    unit_sums.') }}
from turn_sums
inner join unit_sums on {{ evalhouse.joined('turn_sums', 'unit_sums', key) }}
