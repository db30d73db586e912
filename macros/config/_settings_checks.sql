{#-
    Checks mappings against their table of fields and fills in the defaults. `items` is a list of [path, mapping].
    Written for speed, as every model calls it: one call for many mappings, subscripts rather than dots, and no name
    that is first used inside a loop (Jinja would look it up again in every round).
    What is inside a nested list or mapping is checked by the caller.
-#}
{%- macro _settings_check(items, fields) -%}
    {%- set refuse = evalhouse._settings_refuse -%}
    {%- set refuse_key = evalhouse._settings_refuse_key -%}
    {%- set timestamp = evalhouse._settings_timestamp -%}
    {%- set matches = modules.re.fullmatch -%}
    {%- set merged = dict -%}
    {%- set defaults = {} -%}
    {%- for key, field in fields.items() -%}
        {%- do defaults.update({key: field['default'] if 'default' in field else none}) -%}
    {%- endfor -%}
    {%- set required = fields.items() | selectattr('1.required', 'defined') | map('first') | list -%}
    {%- set results = [] -%}
    {%- for path, given in items -%}
        {%- if given is not mapping -%}
            {%- do refuse(path, given, 'allowed: a mapping with the keys ' ~ fields | join(', ')) -%}
        {%- endif -%}
        {%- for key in given if key not in fields -%}
            {%- do refuse_key(path ~ '.' ~ key, fields) -%}
        {%- endfor -%}
        {%- set settled = merged(defaults, **given) -%}
        {%- for key in given -%}
            {%- set value = given[key] -%}
            {%- set field = fields[key] -%}
            {%- set kind = field['kind'] -%}
            {%- set good = false -%}
            {%- set result = value -%}
            {%- if value is none -%}
                {%- set good = true -%}
                {%- set result = defaults[key] -%}
            {%- elif kind == 'choice' -%}
                {%- set good = value is string and value in field['choices'] -%}
            {%- elif kind == 'sql' -%}
                {%- set good = value is string and value | trim != '' -%}
                {%- set result = value | trim -%}
            {%- elif kind == 'sql_or_number' -%}
                {%- set is_number = value is number and value is not boolean -%}
                {%- set good = is_number or (value is string and value | trim != '') -%}
                {%- set result = value | string | trim -%}
            {%- elif kind == 'pattern' -%}
                {%- set good = value is string and matches(field['pattern'], value) is not none -%}
            {%- elif kind == 'number' or kind == 'integer' -%}
                {%- set good = value is number and value is not boolean and (kind == 'number' or value is integer)
                    and value > field['above'] | default(-1e300) and value >= field['least'] | default(-1e300)
                    and value < field['below'] | default(1e300) -%}
            {%- elif kind == 'boolean' -%}
                {%- set good = value is boolean -%}
            {%- elif kind == 'text' -%}
                {%- set good = value is string -%}
            {%- elif kind == 'list' -%}
                {%- set good = value is sequence and value is not string and value is not mapping -%}
            {%- elif kind == 'mapping' -%}
                {%- set good = value is mapping -%}
            {%- elif kind == 'timestamp' -%}
                {%- set result = timestamp(value) -%}
                {%- set good = result is not none -%}
            {%- endif -%}
            {%- if not good -%}
                {%- do refuse(path ~ '.' ~ key, value, 'allowed: ' ~ field['allowed']) -%}
            {%- elif result != value -%}
                {%- do settled.update({key: result}) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- for key in required if settled[key] is none -%}
            {%- do refuse(path ~ '.' ~ key, none, 'allowed: ' ~ fields[key]['allowed']) -%}
        {%- endfor -%}
        {%- do results.append(settled) -%}
    {%- endfor -%}
    {%- do return(results) -%}
{%- endmacro -%}


{#- Checks a list of mappings, whose values of `label` must differ. Returns a list of [path, mapping]. -#}
{%- macro _settings_rows(path, given, fields, label) -%}
    {%- set items = [] -%}
    {%- for row in given -%}
        {%- set row_label = ' (' ~ row[label] ~ ')' if row is mapping and row[label] is string else '' -%}
        {%- do items.append([path ~ '[' ~ loop.index0 ~ ']' ~ row_label, row]) -%}
    {%- endfor -%}
    {%- set rows = evalhouse._settings_check(items, fields) -%}
    {%- set labels = rows | map(attribute=label) | list -%}
    {%- for value in labels -%}
        {%- if value in labels[:loop.index0] -%}
            {%- do evalhouse._settings_refuse(
                items[loop.index0][0] ~ '.' ~ label, value,
                'choose another, it is taken by ' ~ path ~ '[' ~ labels.index(value) ~ ']'
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do return(zip(items | map('first'), rows) | list) -%}
{%- endmacro -%}


{#- Checks a list of names: each allowed by `field`, none repeated, none among `taken`. -#}
{%- macro _settings_names(path, given, field, taken=[]) -%}
    {%- set names = [] -%}
    {%- set seen = taken | map('lower') | list -%}
    {%- for name in given -%}
        {%- set item_path = path ~ '[' ~ loop.index0 ~ ']' -%}
        {%- if name is not string
            or ('choices' in field and name not in field['choices'])
            or ('pattern' in field and modules.re.fullmatch(field['pattern'], name) is none)
            or ('reserved' in field and name | lower in field['reserved']) -%}
            {%- do evalhouse._settings_refuse(item_path, name, 'allowed: ' ~ field['allowed']) -%}
        {%- endif -%}
        {%- if name | lower in seen -%}
            {%- do evalhouse._settings_refuse(item_path, name, 'remove it, it is named already') -%}
        {%- endif -%}
        {%- do seen.append(name | lower) -%}
        {%- do names.append(name) -%}
    {%- endfor -%}
    {%- do return(names) -%}
{%- endmacro -%}


{#-
    YAML reads an unquoted timestamp as a date or a datetime, so those are accepted too. Returns UTC text with a time of
    day, or none if the value is not a timestamp.
-#}
{%- macro _settings_timestamp(value) -%}
    {%- if value is not string and value.strftime is defined -%}
        {%- set moment = value.astimezone(modules.pytz.utc) if value.tzinfo else value -%}
        {%- do return(moment.strftime('%Y-%m-%d %H:%M:%S')) -%}
    {%- endif -%}
    {%- set clock = '( ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])?' -%}
    {%- set form = '([1-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])' ~ clock -%}
    {%- set match = modules.re.fullmatch(form, value) if value is string else none -%}
    {%- if match is none -%}
        {%- do return(none) -%}
    {%- endif -%}
    {#- The 31st of a short month lands in the next one. -#}
    {%- set month = match.group(2) | int -%}
    {%- set first_day = modules.datetime.datetime(match.group(1) | int, month, 1) -%}
    {%- set days_later = modules.datetime.timedelta(days=(match.group(3) | int) - 1) -%}
    {%- if month != 12 and (first_day + days_later).month != month -%}
        {%- do return(none) -%}
    {%- endif -%}
    {%- do return(value if match.group(4) else value ~ ' 00:00:00') -%}
{%- endmacro -%}


{%- macro _settings_refuse_key(path, fields) -%}
    {%- do exceptions.raise_compiler_error(
        'evalhouse: ' ~ path.lstrip('.') ~ ' is not a known key; allowed: ' ~ fields | join(', ')
    ) -%}
{%- endmacro -%}


{%- macro _settings_refuse(path, value, remedy) -%}
    {%- if value is none -%}
        {%- set shown = 'missing' -%}
    {%- elif value is string -%}
        {%- set shown = "'" ~ value ~ "'" -%}
    {%- elif value is boolean -%}
        {%- set shown = 'true' if value else 'false' -%}
    {%- else -%}
        {%- set shown = tojson(value, value | string) | string -%}
    {%- endif -%}
    {%- set shown = shown if shown | length <= 100 else shown[:96] ~ ' ...' -%}
    {%- do exceptions.raise_compiler_error('evalhouse: ' ~ path.lstrip('.') ~ ' is ' ~ shown ~ '; ' ~ remedy) -%}
{%- endmacro -%}
