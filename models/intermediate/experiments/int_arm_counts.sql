{#- Units by arm against the planned split, for every population whose split is tested: everyone exposed (by the first
    arm seen), everyone analysed, each slice of the exposed, and the units that a metric keeps where it may lose
    some. -#}
{%- set dimensions = evalhouse.exposure_dimensions() -%}
{%- set losing_metrics = evalhouse.settings().metrics | selectattr('missing', 'equalto', 'exclude')
    | rejectattr('type', 'equalto', 'quantile') | map(attribute='name') | list -%}

with exposed_units as (
    select * from {{ ref('evalhouse', 'int_exposed_units') }}
),

{%- if losing_metrics %}

arm_estimates as (
    select * from {{ ref('evalhouse', 'int_arm_estimates') }}
    where look_date = {{ evalhouse.current_look() }}
),
{%- endif %}

variations as (
    select * from {{ ref('evalhouse', 'int_experiment_variations') }}
),

phase_weights as (
    select * from {{ ref('evalhouse', 'stg_experiment_phases') }}
    where rejected_by is null
),

populations as (
    select
        'srm' as check_name,
        'all' as scope,
        experiment_id,
        phase_number,
        variation_id,
        count(*) as units
    from exposed_units
    group by experiment_id, phase_number, variation_id

    union all

    select
        'srm_analysed' as check_name,
        'all' as scope,
        experiment_id,
        phase_number,
        variation_id,
        count(*) as units
    from exposed_units
    where excluded_by is null
    group by experiment_id, phase_number, variation_id
    {%- for dimension in dimensions %}

    union all

    select
        'srm_dimension' as check_name,
        '{{ dimension.name }}=' || {{ dimension.name }} as scope,
        experiment_id,
        phase_number,
        variation_id,
        count(*) as units
    from exposed_units
    group by experiment_id, phase_number, variation_id, {{ dimension.name }}
    {%- endfor %}
    {%- if losing_metrics %}

    union all

    select
        'srm_metric' as check_name,
        metric_name as scope,
        experiment_id,
        phase_number,
        variation_id,
        units
    from arm_estimates
    where dimension_name = 'all' and metric_name in ('{{ losing_metrics | join("', '") }}')
    {%- endif %}
),

numbered_phases as (
    select
        experiment_id,
        variation_id,
        expected_weight,
        dense_rank() over (partition by experiment_id order by phase_started_at) as phase_number
    from phase_weights
),

phased_experiments as (
    select distinct experiment_id from numbered_phases
),

strata as (
    select distinct
        check_name,
        scope,
        experiment_id,
        phase_number
    from populations
),

-- Every arm of the plan, also one that nobody was put into.
planned as (
    select
        strata.check_name,
        strata.scope,
        strata.experiment_id,
        strata.phase_number,
        variations.variation_id,
        case
            when phased_experiments.experiment_id is null then variations.expected_share
            else coalesce(numbered_phases.expected_weight, 0)
        end as expected_weight
    from strata
    inner join variations on strata.experiment_id = variations.experiment_id
    left join phased_experiments on strata.experiment_id = phased_experiments.experiment_id
    left join numbered_phases
        on strata.experiment_id = numbered_phases.experiment_id
        and strata.phase_number = numbered_phases.phase_number
        and variations.variation_id = numbered_phases.variation_id
),

-- Where whole clusters are put into arms, units arrive in lumps and chi-square is too large by the design effect (Rao
-- and Scott): the mean over arms of the clustered against the multinomial variance of an arm's count.
cluster_arms as (
    select
        experiment_id,
        cluster_id,
        variation_id,
        cast(count(*) as {{ evalhouse.type_double() }}) as units
    from exposed_units
    where is_clustered and cluster_id is not null
    group by experiment_id, cluster_id, variation_id
),

cluster_shares as (
    select
        experiment_id,
        cluster_id,
        variation_id,
        units,
        sum(units) over (partition by experiment_id, cluster_id) as units_of_cluster,
        sum(units) over (partition by experiment_id, variation_id)
        / sum(units) over (partition by experiment_id) as share
    from cluster_arms
),

cluster_sizes as (
    select
        experiment_id,
        sum(units) as units,
        sum(units * units) as squared_units
    from (
        select
            experiment_id,
            cluster_id,
            sum(units) as units
        from cluster_arms
        group by experiment_id, cluster_id
    ) as clusters
    group by experiment_id
),

design_effects as (
    select
        arms.experiment_id,
        sum((
            arms.squared_units - 2 * arms.share * arms.units_times_cluster
            + arms.share * arms.share * cluster_sizes.squared_units
        ) / (cluster_sizes.units * arms.share)) / nullif(count(*) - 1, 0) as design_effect
    from (
        select
            experiment_id,
            variation_id,
            min(share) as share,
            sum(units * units) as squared_units,
            sum(units * units_of_cluster) as units_times_cluster
        from cluster_shares
        group by experiment_id, variation_id
    ) as arms
    inner join cluster_sizes on arms.experiment_id = cluster_sizes.experiment_id
    group by arms.experiment_id
),

counted as (
    select
        planned.*,
        cast(coalesce(populations.units, 0) as {{ evalhouse.type_double() }}) as units
    from planned
    left join populations
        on {{ evalhouse.joined(
            'planned', 'populations', 'check_name, scope, experiment_id, phase_number, variation_id'
        ) }}
)

select
    counted.check_name,
    counted.scope,
    counted.experiment_id,
    counted.phase_number,
    counted.variation_id,
    counted.expected_weight,
    counted.units,
    case when design_effects.design_effect > 1 then design_effects.design_effect else 1 end as design_effect,
    -- Arms of weight zero take no part in the expectation; units found there are a fault of their own.
    case
        when counted.expected_weight > 0 then counted.expected_weight / sum(counted.expected_weight) over (
            partition by counted.check_name, counted.scope, counted.experiment_id, counted.phase_number
        ) * sum(case when counted.expected_weight > 0 then counted.units else 0 end) over (
            partition by counted.check_name, counted.scope, counted.experiment_id, counted.phase_number
        )
    end as expected_units
from counted
left join design_effects on counted.experiment_id = design_effects.experiment_id
