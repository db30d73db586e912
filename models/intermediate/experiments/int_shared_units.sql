{#-
    Units in two experiments at a time, by arm of the one and arm of the other. All pairs of many experiments on the
    same users would be far more rows than users: of a large experiment only a part of the units is looked up in the
    others, chosen by hash, so that a pair costs a bounded number of rows. The smaller experiment of a pair decides.
-#}
{%- set double = evalhouse.type_double() -%}
{%- set rows_in_all = 8000000 -%}
{%- set rows_per_pair = [2000, 100000] -%}
{#- Salted: an assignment made from the plain hash would put the sample into one arm. -#}
{%- set hash = dbt.hash("'shared units ' || exposed_units.unit_id") -%}
{%- set key = 'experiment_id, other_experiment_id' -%}

with exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
    where excluded_by is null
),

all_experiments as (
    select * from {{ ref('evalhouse', 'int_experiments') }}
),

experiments as (
    select
        experiment_id,
        analysed_units as units,
        cast(first_exposed_at as date) as first_date,
        cast(last_exposed_at as date) as last_date
    from all_experiments
    where analysed_units > 0
),

pairs as (
    select
        smaller.experiment_id,
        larger.experiment_id as other_experiment_id,
        smaller.units,
        larger.units as other_units,
        smaller.last_date,
        larger.last_date as other_last_date,
        {{ rows_in_all }} / count(*) over () as affordable_rows
    from experiments as smaller
    inner join experiments as larger
        on (
            smaller.units < larger.units
            or (smaller.units = larger.units and smaller.experiment_id < larger.experiment_id)
        )
        and smaller.first_date <= larger.last_date
        and larger.first_date <= smaller.last_date
),

-- Each level keeps a quarter of the units of the level before.
sampled_experiments as (
    select
        experiment_id,
        case
            {%- for level in range(6) %}
            when units <= {{ 4 ** level }} * affordable_rows then {{ level }}
            {%- endfor %}
            else 6
        end as level
    from (
        select
            experiment_id,
            max(units) as units,
            max(case
                when affordable_rows < {{ rows_per_pair[0] }} then {{ rows_per_pair[0] }}
                when affordable_rows > {{ rows_per_pair[1] }} then {{ rows_per_pair[1] }}
                else affordable_rows
            end) as affordable_rows
        from pairs
        group by experiment_id
    ) as sizes
),

hashed_units as (
    select
        exposed_units.experiment_id,
        exposed_units.unit_id,
        exposed_units.variation_id,
        exposed_units.phase_number,
        exposed_units.first_exposed_at,
        sampled_experiments.level,
        case when sampled_experiments.level > 0 then {{ hash }} end as unit_hash
    from exposed_units
    inner join sampled_experiments on exposed_units.experiment_id = sampled_experiments.experiment_id
),

-- The first digit of the hash has 16 values: a quarter of them is one level, one of them two.
sampled_units as {{ evalhouse.materialized() }} (
    select *
    from hashed_units
    where
        level = 0
        {%- for level in range(1, 7) %}
        {%- set zeros = '0' * ((level - 1) // 2) %}
        or (level = {{ level }} and substr(unit_hash, 1, {{ zeros | length + 1 }}) in (
            {%- for digit in (['0', '1', '2', '3'] if level % 2 else ['0']) -%}
            '{{ zeros }}{{ digit }}'{{ ', ' if not loop.last }}
            {%- endfor -%}
        ))
        {%- endfor %}
),

sample_sizes as (
    select
        experiment_id,
        cast(count(*) as {{ double }}) as units_looked_up
    from sampled_units
    group by experiment_id
),

shared as (
    select
        pairs.experiment_id,
        pairs.other_experiment_id,
        sampled_units.phase_number,
        other_units.phase_number as other_phase_number,
        sampled_units.variation_id,
        other_units.variation_id as other_variation_id,
        cast(count(*) as {{ double }}) as units
    from sampled_units
    inner join exposed_units as other_units on sampled_units.unit_id = other_units.unit_id
    inner join pairs
        on sampled_units.experiment_id = pairs.experiment_id
        and other_units.experiment_id = pairs.other_experiment_id
        -- Whoever entered the one after the other was over had no part in both at a time.
        and cast(sampled_units.first_exposed_at as date) <= pairs.other_last_date
        and cast(other_units.first_exposed_at as date) <= pairs.last_date
    group by
        pairs.experiment_id,
        pairs.other_experiment_id,
        sampled_units.phase_number,
        other_units.phase_number,
        sampled_units.variation_id,
        other_units.variation_id
)

select
    shared.experiment_id,
    shared.other_experiment_id,
    shared.phase_number,
    shared.other_phase_number,
    shared.variation_id,
    shared.other_variation_id,
    shared.units,
    sample_sizes.units_looked_up,
    cast(pairs.units as {{ double }}) as units_of_experiment,
    cast(pairs.other_units as {{ double }}) as units_of_other
from shared
inner join sample_sizes on shared.experiment_id = sample_sizes.experiment_id
inner join pairs
    on {{ evalhouse.joined('shared', 'pairs', key) }}
