{#- Reference and window by bin: deciles of the reference, open at both ends, where features are numbers, otherwise
    categories. A share below 1e-4 counts as 1e-4 in PSI; nothing else is floored. -#}
{%- set key = 'feature_number, segment_name, segment_value, window_start' %}

with drift_numbers as (
    select * from {{ ref('evalhouse', 'int_drift_numbers') }}
    where reference_n > 0
),

categories as (
    select * from {{ ref('evalhouse', 'int_drift_categories') }}
),

listed_edges as (
    {%- for k in range(1, 10) %}
    select
        {{ key }},
        edge_{{ k }} as upper_bound,
        reference_below_{{ k }} as reference_below,
        window_below_{{ k }} as window_below
    from drift_numbers

    union all

    {%- endfor %}
    select
        {{ key }},
        cast(null as {{ evalhouse.type_double() }}) as upper_bound,
        reference_n as reference_below,
        window_n as window_below
    from drift_numbers
),

edges as (
    select distinct
        {{ key }},
        upper_bound,
        reference_below,
        window_below
    from listed_edges
),

-- A decile that many rows share is one edge, not several.
steps as (
    select
        *,
        row_number() over (partition by {{ key }} order by upper_bound nulls last) as bin_number,
        lag(upper_bound) over (partition by {{ key }} order by upper_bound nulls last) as lower_bound,
        lag(reference_below) over (partition by {{ key }} order by upper_bound nulls last) as reference_before,
        lag(window_below) over (partition by {{ key }} order by upper_bound nulls last) as window_before
    from edges
),

bins as (
    select
        {{ key }},
        bin_number,
        lower_bound,
        upper_bound,
        cast(null as {{ dbt.type_string() }}) as category,
        reference_below - coalesce(reference_before, 0e0) as reference_n,
        window_below - coalesce(window_before, 0e0) as window_n
    from steps

    union all

    select
        {{ key }},
        row_number() over (partition by {{ key }} order by reference_n desc, category asc) as bin_number,
        cast(null as {{ evalhouse.type_double() }}) as lower_bound,
        cast(null as {{ evalhouse.type_double() }}) as upper_bound,
        category,
        reference_n,
        window_n
    from categories
),

shares as (
    select
        *,
        sum(reference_n) over (partition by {{ key }}) as reference_total,
        sum(window_n) over (partition by {{ key }}) as window_total,
        reference_n / nullif(sum(reference_n) over (partition by {{ key }}), 0) as reference_share,
        window_n / nullif(sum(window_n) over (partition by {{ key }}), 0) as window_share
    from bins
)

select
    *,
    (greatest(coalesce(window_share, 0e0), 1e-4) - greatest(coalesce(reference_share, 0e0), 1e-4))
    * ln(greatest(coalesce(window_share, 0e0), 1e-4) / greatest(coalesce(reference_share, 0e0), 1e-4)) as psi_part,
    -- In bits. What is zero adds nothing.
    5e-1 / ln(2e0) * (
        case
            when reference_share > 0
                then reference_share * ln(2e0 * reference_share / (reference_share + window_share))
            when reference_share = 0 then 0e0
        end
        + case
            when window_share > 0 then window_share * ln(2e0 * window_share / (reference_share + window_share))
            when window_share = 0 then 0e0
        end
    ) as js_part
from shares
