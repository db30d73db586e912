-- Gates `dbt build`: it fails while a rollback is due. `analysis: {due_rollback: warn}` makes it a warning.
{{ config(severity=evalhouse.settings().analysis.due_rollback) }}

select *
from {{ ref('evalhouse', 'due_actions') }}
where action = 'rollback'
