{#- For `sql_header` of a model: statements that let one run at a time build it, on engines that would let two of them
    do so without an error. Others wait until the model's own commit; with `refuse` a run stops if another is at work.
    -#}
{% macro one_writer(model_name, refuse=false) -%}
    {{ return(adapter.dispatch('one_writer', 'evalhouse')(model_name, refuse)) }}
{%- endmacro %}

{#- A file is locked (DuckDB), or the engine notices what two writers do to each other. -#}
{% macro default__one_writer(model_name, refuse) -%}
{%- endmacro %}

{% macro redshift__one_writer(model_name, refuse) -%}
{%- endmacro %}

{#- The lock is a statement of its own: the model's, which comes next, sees what was committed while it waited. Locks
    are of the database, so that schemas side by side wait for each other too, which costs time only.

    Nothing of a run lasts from its first model to its last, so that another run is known by what it does just now: dbt
    writes the model's name in front of each statement. Ten looks within a second, as dbt has pauses. -#}
{% macro postgres__one_writer(model_name, refuse) -%}
    {%- if not refuse %}
    select pg_advisory_xact_lock(hashtext('evalhouse.{{ model_name }}'));
    {%- else %}
    do $$
    declare
        schema_name text := substring(current_query() from '"([^"]+)"\."{{ model_name }}');
        other text;
    begin
        if not pg_try_advisory_xact_lock(hashtext('evalhouse.{{ model_name }}.' || schema_name)) then
            other := 'starting';
        end if;
        for look in 1 .. 10 loop
            exit when other is not null;
            perform pg_sleep(0.1);
            perform pg_stat_clear_snapshot();
            select 'building ' || substring(query from '"model\.evalhouse\.([^"]+)"') into other
            from pg_stat_activity
            where
                datname = current_database()
                and state <> 'idle'
                and query like '/*%"model.evalhouse.%"%*/%"' || schema_name || '".%'
                and query not like '%"model.evalhouse.{{ model_name }}"%'
            limit 1;
        end loop;
        if other is not null then
            raise exception 'evalhouse: another dbt run is % in schema %', other, schema_name
                using hint = 'Nothing was changed. Run again when the other run has ended.';
        end if;
    end $$;
    {%- endif %}
{%- endmacro %}
