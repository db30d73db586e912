{#- Built before all else, so that a second run stops here and does not mix its relations with those of the first. -#}
{{ config(materialized='table', sql_header=evalhouse.one_writer('run_gate', refuse=true)) }}

select 1 as runs
