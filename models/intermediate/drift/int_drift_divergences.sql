{#- PSI and Jensen-Shannon over bins, and the chi-square test over categories. -#}
{%- set key = 'feature_number, segment_name, segment_value, window_start' %}

with bins as (
    select * from {{ ref('evalhouse', 'int_drift_bins') }}
    where reference_total > 0 and window_total > 0
),

expected as (
    select
        *,
        -- The smaller of the two cells that would hold this bin if nothing had moved.
        (reference_n + window_n) * least(reference_total, window_total) / (reference_total + window_total)
            as least_expected
    from bins
),

-- Categories too rare for the test are one; where even that is too rare, it joins the rarest of the others.
pooled as (
    select
        *,
        sum(case when least_expected < 5 then least_expected else 0e0 end) over (partition by {{ key }})
            as expected_of_rare,
        row_number() over (
            partition by {{ key }}
            order by case when least_expected >= 5 then 0 else 1 end, least_expected, category
        ) as place_from_rarest
    from expected
    where category is not null
),

placed as (
    select
        *,
        case
            when least_expected < 5 then 0
            when expected_of_rare between 1e-9 and 5 and place_from_rarest = 1 then 0
            else bin_number
        end as cell
    from pooled
),

cells as (
    select
        {{ key }},
        cell,
        max(reference_total) as reference_total,
        max(window_total) as window_total,
        sum(reference_n) as reference_n,
        sum(window_n) as window_n
    from placed
    group by {{ key }}, cell
),

chi_squares as (
    select
        {{ key }},
        count(*) - 1 as chi2_dof,
        -- Of both sides of a cell together: (r - e)^2 (1/e + 1/e') with the same difference.
        sum(
            power(reference_n * window_total - window_n * reference_total, 2)
            / ((reference_n + window_n) * reference_total * window_total)
        ) as chi2_statistic
    from cells
    group by {{ key }}
),

divergences as (
    select
        {{ key }},
        max(case when category is not null then 1 else 0 end) = 1 as is_categorical,
        sum(psi_part) as psi,
        count(*) as bins,
        sqrt(greatest(sum(js_part), 0)) as js_distance,
        sum(case when category is not null and reference_n = 0 then 1 else 0 end) as new_categories,
        sum(case when category is not null and window_n = 0 then 1 else 0 end) as lost_categories,
        sum(case when category is not null and reference_n = 0 then window_share else 0e0 end) as new_category_share,
        max(case when category is not null and window_n = 0 then reference_share else 0e0 end) as largest_lost_share,
        max(case when category is not null and reference_n = 0 then window_n end) as largest_new_category,
        sum(case when category is not null then 1 else 0 end) as categories
    from bins
    group by {{ key }}
)

select
    {{ evalhouse.qualified('divergences', key) }},
    divergences.is_categorical,
    divergences.psi,
    divergences.bins,
    divergences.js_distance,
    divergences.new_categories,
    divergences.lost_categories,
    divergences.new_category_share,
    divergences.largest_lost_share,
    divergences.largest_new_category,
    divergences.categories,
    chi_squares.chi2_statistic,
    chi_squares.chi2_dof
from divergences
left join chi_squares
    on divergences.feature_number = chi_squares.feature_number
    and divergences.segment_name = chi_squares.segment_name
    and divergences.segment_value = chi_squares.segment_value
    and divergences.window_start = chi_squares.window_start
