{#- Columns of the user's table beyond those of the contract that some metric's SQL over this fact mentions: they are
    carried along, the rest of a wide table is not. -#}
{% macro columns_used_by_metrics(fact, found, known) -%}
    {%- set snippets = [] -%}
    {%- for metric in evalhouse.settings().metrics -%}
        {%- for part in [metric, metric.denominator] + (metric.steps or []) if part -%}
            {%- if (part.fact or metric.fact) == fact -%}
                {%- do snippets.append(part.where or '') -%}
                {%- do snippets.append(part.value or '') -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- set text = snippets | join(' ') | lower -%}
    {%- set used = [] -%}
    {%- for name, column in found.items() if name not in known -%}
        {%- if modules.re.search('(?<![a-z0-9_])' ~ modules.re.escape(name) ~ '(?![a-z0-9_])', text) -%}
            {%- do used.append(column.name) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(used) }}
{%- endmacro %}
