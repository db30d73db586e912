-- Every small table has the grain that it says. By full name: a test in YAML would look its model up by the bare name,
-- and meet a model of the user's own.
{%- set slice = ['experiment_id', 'metric_name', 'dimension_name', 'dimension_value', 'variation_id'] -%}
{%- set grains = {
    'experiment_results': slice,
    'experiment_health': ['experiment_id', 'check_name', 'scope'],
    'experiment_tradeoffs': ['scope', 'experiment_id', 'variation_id', 'goal_metric_name', 'other_metric_name'],
    'experiment_subgroups': slice,
    'int_influence_products': [
        'experiment_id', 'variation_id', 'phase_number', 'goal_metric_name', 'other_metric_name'
    ],
    'int_effect_covariances': ['experiment_id', 'variation_id', 'goal_metric_name', 'other_metric_name'],
    'int_effect_correlations': ['goal_metric_name', 'other_metric_name'],
    'int_interaction_tests': ['experiment_id', 'metric_name', 'variation_id', 'dimension_name'],
    'input_quality': ['input_name', 'rule'],
    'dim_experiments': ['experiment_id'],
    'dim_metrics': ['metric_name'],
    'group_sequential_boundaries': ['spending', 'alpha', 'planned_looks', 'look_number'],
    'int_experiment_variations': ['experiment_id', 'variation_id'],
    'int_watermarks': ['source_name'],
    'int_arm_estimates': slice + ['look_date', 'phase_number'],
    'int_comparisons': slice + ['look_date'],
    'int_looks': ['experiment_id', 'as_of_date'],
    'experiment_results_daily': slice + ['as_of_date'],
    'int_arm_counts': ['experiment_id', 'check_name', 'scope', 'phase_number', 'variation_id'],
    'drift_summary': ['monitor_name', 'feature_name', 'window_start', 'segment_name', 'segment_value'],
    'drift_bins': ['monitor_name', 'feature_name', 'window_start', 'segment_name', 'segment_value', 'bin_number'],
    'drift_decomposition': [
        'monitor_name', 'measure_name', 'window_start', 'segment_name', 'segment_value', 'slice'
    ],
    'numbers': ['n']
} -%}
{%- if evalhouse.has_input('traces') -%}
    {%- set slice_of_day = ['model_version', 'dimension_name', 'dimension_value'] -%}
    {%- do grains.update({
        'implicit_signals_daily': ['signal_date', 'signal_name'] + slice_of_day,
        'trace_quality_daily': ['trace_date'] + slice_of_day,
        'failure_modes': ['failure_date', 'failure_mode'] + slice_of_day
    }) -%}
{%- endif -%}
{%- for model, columns in grains.items() %}
select
    '{{ model }}' as model_name,
    {%- for column in columns %}
    {{ "coalesce(cast(" ~ column ~ " as " ~ dbt.type_string() ~ "), '(null)')" }}{{ " || ' ' ||" if not loop.last }}
    {%- endfor %} as grain,
    count(*) as rows_of_grain
from {{ ref('evalhouse', model) }}
group by {{ columns | join(', ') }}
having
    count(*) > 1
    {%- for column in columns %}
    or count({{ column }}) < count(*)
    {%- endfor %}
{{ 'union all' if not loop.last }}
{%- endfor %}
