{#-
    The t density at zero, Gamma((v + 1) / 2) / (Gamma(v / 2) sqrt(pi v)), for dof >= 1.
    Gamma(z + 1/2) / Gamma(z) is shifted up by six and then sqrt(s) times a series in 1 / s^2 with s = z - 1/4.
-#}
{% macro _student_t_density_at_zero(dof) -%}
    (
        sqrt(5e-1 + 5.75e0 / {{ dof }}) * 5.6418958354775629e-1
        {%- for i in range(0, 12, 2) %}
        * (({{ dof }} + {{ i }}e0) / ({{ dof }} + {{ i + 1 }}e0))
        {%- endfor %}
        * {{ evalhouse._polynomial('(1e0 / power(5e-1 * ' ~ dof ~ ' + 5.75e0, 2))', [
            '1.0000000000000469e0', '1.5624999909836514e-2', '-2.3193080121242065e-3', '1.2004834242726554e-3',
            '-1.1597695677844338e-3'
        ]) }}
    )
{%- endmacro %}

{#- The probability between 0 and t over the density at zero, for |t| <= 1.5: ten Gauss-Legendre nodes. -#}
{% macro _student_t_centre(t, dof) -%}
    (
        {{ t }} * (
            {%- for square, weight in [
                ('1.7021731350629318e-4', '3.3335672154344069e-2'), ('4.551973752327864e-3', '7.4725674575290293e-2'),
                ('2.5694556224554473e-2', '1.0954318125799102e-1'), ('8.0260194848487787e-2', '1.3463335965499817e-1'),
                ('1.8110372271098879e-1', '1.4776211235737644e-1'), ('3.2997806169262001e-1', '1.4776211235737644e-1'),
                ('5.13655588977735e-1', '1.3463335965499817e-1'), ('7.0510412452357885e-1', '1.0954318125799102e-1'),
                ('8.6961534044131239e-1', '7.4725674575290293e-2'), ('9.7407674583067805e-1', '3.3335672154344069e-2')
            ] %}
            {{ '+ ' if not loop.first }}{{ weight }}
            {#- #} * exp(-(5e-1 * {{ dof }} + 5e-1) * ln(1e0 + {{ square }} * power({{ t }}, 2) / {{ dof }}))
            {%- endfor %}
        )
    )
{%- endmacro %}

{#- (dof / 2) ln(1 + t^2 / dof). -#}
{% macro _student_t_exponent(t, dof) -%}
    (5e-1 * {{ dof }} * {{ evalhouse._ln_one_plus('power(' ~ t ~ ', 2) / ' ~ dof) }})
{%- endmacro %}

{#-
    The upper tail is density_at_zero / sqrt(dof) * exp(-y) * S with y the exponent above and
    S = integral over w > 0 of exp(-w) / sqrt(1 - exp(-2 w / dof) / (1 + t^2 / dof)): for |t| >= 1.5 the 48-point
    Gauss-Laguerre rule, of which the 23 nodes with weights above 1e-12 are kept. The pairs are (2 w, weight).
-#}
{% macro _student_t_tail_sum(t, dof) -%}
    (
        {%- for node, weight in [
            ('5.9622471659920219e-2', '7.4262005828026237e-2'), ('3.1421598123575262e-1', '1.5227194980935282e-1'),
            ('7.7253007515291117e-1', '1.9040908826391142e-1'), ('1.4351493882339446e0', '1.8663305948480594e-1'),
            ('2.3027876680528694e0', '1.5342420015757829e-1'), ('3.3763716468380944e0', '1.0877969280749025e-1'),
            ('4.6570540133064577e0', '6.7460738609219459e-2'), ('6.1462217233052776e0', '3.6881194115821213e-2'),
            ('7.8455048260929612e0', '1.7856844269156718e-2'), ('9.7567867118426914e0', '7.6776165144976085e-3'),
            ('1.1882216109249118e1', '2.9357859037394737e-3'), ('1.4224221071781487e1', '9.9906553781588573e-4'),
            ('1.6785525198182448e1', '3.0259801699225841e-4'), ('1.9569166369374646e1', '8.1538711803554132e-5'),
            ('2.2578518336019055e1', '1.9531587157280726e-5'), ('2.581731555657106e1', '4.1541829450521749e-6'),
            ('2.9289681766419413e1', '7.8337003802775868e-7'), ('3.3000162857929169e1', '1.3073947749206026e-7'),
            ('3.6953764773748226e1', '1.9270714080170285e-8'), ('4.1155997268044416e1', '2.5026389371263412e-9'),
            ('4.5612924581042741e1', '2.8557855087716224e-10'), ('5.0331224312878213e1', '2.8546224120591559e-11'),
            ('5.5318256088961057e1', '2.4910106849372247e-12')
        ] %}
        {{ '+ ' if not loop.first }}{{ weight }}
        {#- #} / sqrt(1e0 - exp(-{{ node }} / {{ dof }}) / (1e0 + power({{ t }}, 2) / {{ dof }}))
        {%- endfor %}
    )
{%- endmacro %}

{#- The upper tail for 1.5 <= |t| <= 1e140 and dof <= 3e8; no floor, but no underflow either. -#}
{% macro _student_t_tail(t, dof) -%}
    (
        exp(greatest(-6.9e2, -{{ evalhouse._student_t_exponent(t, dof) }}))
        * {{ evalhouse._student_t_density_at_zero(dof) }} / sqrt({{ dof }})
        * {{ evalhouse._student_t_tail_sum(t, dof) }}
    )
{%- endmacro %}

{#- The upper tail for |t| <= 40 and dof > 3e8: the normal tail and the first term of its expansion in 1 / dof. -#}
{% macro _student_t_tail_large_dof(t, dof) -%}
    (
        {{ evalhouse._normal_tail('abs(' ~ t ~ ')') }}
        + exp(greatest(-6.9e2, -5e-1 * power({{ t }}, 2))) * 3.9894228040143268e-1
        * abs({{ t }}) * (1e0 + power({{ t }}, 2)) * (2.5e-1 / least({{ dof }}, 1e15))
    )
{%- endmacro %}

{#- The probability above |t|, times `sides`. greatest() and least() see no nulls here. -#}
{% macro _student_t_p(t, dof, sides) -%}
    {%- set centre_dof = 'least(' ~ dof ~ ', 1e8)' -%}
    {%- set factor = '2e0 * ' if sides == 2 else '' -%}
    (case
        when abs({{ t }}) < 1e-30 then {{ '1e0' if sides == 2 else '5e-1' }}
        when abs({{ t }}) < 1.5e0
            then {{ '1e0' if sides == 2 else '5e-1' }}
            - {{ factor }}{{ evalhouse._student_t_density_at_zero(centre_dof) }}
            * {{ evalhouse._student_t_centre('abs(' ~ t ~ ')', centre_dof) }}
        when {{ dof }} > 3e8 and abs({{ t }}) > 4e1 then 1e-300
        when {{ dof }} > 3e8
            then greatest(1e-300, {{ factor }}{{ evalhouse._student_t_tail_large_dof(t, dof) }})
        when abs({{ t }}) > 1e140 then case when {{ dof }} < 2e0 then 1e-139 else 1e-279 end
        else greatest(1e-300, {{ factor }}{{ evalhouse._student_t_tail(t, dof) }})
    end)
{%- endmacro %}
