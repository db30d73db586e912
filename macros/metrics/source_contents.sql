{#- Select of one number per source and day that stands for what its rows say, as far as metrics are made from it
    (source_name, activity_date, rows_read, content): it is another one when a row comes, goes or says something else.
    Of the times from which on the CTE `checked` wants it (source_name, reaches_from), over `exposed_units` and the CTEs
    `<fact>_measures`. The day on which a unit sees a second variation is its day, too. -#}
{% macro source_contents() -%}
{%- set entry = [
    'experiment_id', 'unit_id', 'first_exposed_at', 'variation_id', 'phase_number', 'cluster_id'
] + evalhouse.exposure_dimensions() | map(attribute='name') | list -%}
{%- set leaving = ['experiment_id', 'unit_id', 'second_variation_at'] -%}
select
    source_name,
    activity_date,
    cast(sum(is_row) as {{ dbt.type_bigint() }}) as rows_read,
    -- Digits out of the hash, so few that the sum of a day stays within the type.
    cast(
        sum(cast(translate(substr(row_hash, 1, 9), 'abcdef', '012345') as {{ dbt.type_bigint() }}))
        as {{ dbt.type_string() }}
    ) as content
from (
    {%- for time, is_row, attributes in [['first_exposed_at', 1, entry], ['second_variation_at', 0, leaving]] %}
    {{ 'union all' if not loop.first }}
    select
        'exposures' as source_name,
        cast(exposed_units.{{ time }} as date) as activity_date,
        {{ is_row }} as is_row,
        {{ evalhouse.row_hash('exposed_units', attributes) }} as row_hash
    from exposed_units
    where exposed_units.{{ time }} >= (select max(reaches_from) from checked where source_name = 'exposures')
    {%- endfor %}
    {%- for fact, measures in evalhouse.measures_by_fact().items() %}

    union all

    select
        '{{ fact }}' as source_name,
        cast({{ fact }}_measures.fact_time as date) as activity_date,
        1 as is_row,
        {{ evalhouse.row_hash(
            fact ~ '_measures', ['fact_unit_id', 'fact_time'] + measures | map(attribute='name') | list
        ) }} as row_hash
    from {{ fact }}_measures
    where {{ fact }}_measures.fact_time >= (select max(reaches_from) from checked where source_name = '{{ fact }}')
    {%- endfor %}
) as hashed_rows
group by source_name, activity_date
{%- endmacro %}

{#- Hash of some columns of a row; null is not the empty text. -#}
{% macro row_hash(relation, columns) -%}
    {%- set texts = [] -%}
    {%- for column in columns -%}
        {%- set text = 'cast(' ~ relation ~ '.' ~ column ~ ' as ' ~ dbt.type_string() ~ ')' -%}
        {%- do texts.append("coalesce('=' || " ~ text ~ ", '')") -%}
    {%- endfor -%}
    {{ dbt.hash(texts | join(" || '|' || ")) }}
{%- endmacro %}

{#- What metrics are made from of each fact, as {fact: measures}: of quantiles of events nothing is kept. -#}
{% macro measures_by_fact() -%}
    {%- set found = {} -%}
    {%- for measure in evalhouse.metric_plan().measures + evalhouse.funnel_measures() -%}
        {%- do found.setdefault(measure.fact, []).append(measure) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}
