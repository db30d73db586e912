{#-
    With g = sqrt(u / x), the tail is 2 (x / 2)^(dof / 2) exp(-x / 2) / Gamma(dof / 2) times the integral over g > 1 of
    g^(dof - 1) exp(x (1 - g^2) / 2), or one minus that over g < 1 when x is below the mode of g. Twenty Gauss-Legendre
    nodes cover the stretch next to 1 in which the integrand falls by exp(-28); its length bounds the decay from below.
-#}
{% macro chi_square_sf(x, dof) -%}
    {%- set v = evalhouse._double(x) -%}
    {%- set k = evalhouse._double(dof) -%}
    {%- set slope = '(' ~ v ~ ' - ' ~ k ~ ' + 1e0)' -%}
    {%- set above = '5.6e1 / (' ~ slope ~ ' + sqrt(power(' ~ slope ~ ', 2) + 5.6e1 * ' ~ v ~ '))' -%}
    {%- set below = 'least(1e0, 5.6e1 / (sqrt(power(' ~ slope ~ ', 2) + 5.6e1 * (' ~ v ~ ' + ' ~ k ~ ' - 1e0)) - '
        ~ slope ~ '))' -%}
    {%- set log_factor = '(5e-1 * ' ~ k ~ ' * ln(5e-1 * ' ~ v ~ ') - 5e-1 * ' ~ v ~ ' - '
        ~ evalhouse.ln_gamma('5e-1 * ' ~ k) ~ ')' -%}
    (case
        when {{ v }} is null or {{ k }} is null or {{ k }} < 1 or {{ k }} > 1e12 then null
        when {{ v }} < 1e-30 then 1e0
        when {{ v }} > 1e6 + 1e1 * {{ k }} then 1e-300
        when {{ v }} >= {{ k }} - 1e0
            then greatest(1e-300, exp(greatest(-6.9e2, {{ log_factor }})) * 2e0 * {{ above }} * (
                {{- evalhouse._chi_square_sum(v, k, above, '+') }}
            ))
        else 1e0 - exp(greatest(-6.9e2, {{ log_factor }})) * 2e0 * {{ below }} * (
            {{- evalhouse._chi_square_sum(v, k, below, '-') }}
        )
    end)
{%- endmacro %}

{% macro _chi_square_sum(x, dof, length, sign) -%}
    {%- for node, weight in [
        ('3.4357004074525377e-3', '8.8070035695760589e-3'), ('1.8014036361043106e-2', '2.0300714900193469e-2'),
        ('4.3882785874337048e-2', '3.1336024167054534e-2'), ('8.0441514088890595e-2', '4.1638370788352377e-2'),
        ('1.268340467699246e-1', '5.0965059908620221e-2'), ('1.8197315963674249e-1', '5.9097265980759206e-2'),
        ('2.4456649902458646e-1', '6.5844319224588319e-2'), ('3.1314695564229023e-1', '7.1048054659191021e-2'),
        ('3.8610707442917747e-1', '7.4586493236301871e-2'), ('4.6173673943325133e-1', '7.6376693565362919e-2'),
        ('5.3826326056674867e-1', '7.6376693565362919e-2'), ('6.1389292557082253e-1', '7.4586493236301871e-2'),
        ('6.8685304435770977e-1', '7.1048054659191021e-2'), ('7.5543350097541351e-1', '6.5844319224588319e-2'),
        ('8.1802684036325757e-1', '5.9097265980759206e-2'), ('8.731659532300754e-1', '5.0965059908620221e-2'),
        ('9.1955848591110945e-1', '4.1638370788352377e-2'), ('9.5611721412566297e-1', '3.1336024167054534e-2'),
        ('9.8198596363895685e-1', '2.0300714900193469e-2'), ('9.9656429959254744e-1', '8.8070035695760589e-3')
    ] %}
    {%- set g = '(1e0 ' ~ sign ~ ' ' ~ node ~ ' * ' ~ length ~ ')' %}
    {{ '+ ' if not loop.first }}{{ weight }}
    {#- #} * exp({{ x }} * (5e-1 - 5e-1 * power({{ g }}, 2)) + ({{ dof }} - 1e0) * ln({{ g }}))
    {%- endfor %}
{%- endmacro %}
