{#- Words that stand for something said before ("it", "there"). A restored question names the thing instead, so
    these words count neither as kept nor as dropped. -#}
{% macro pointing_words() -%}
    {%- set words =
        'it its he him his she her hers they them their theirs this that these those one ones there then '
        ~ 'er sie ihn ihm ihr ihre ihren dieser diese dieses davon dafur dort '
        ~ 'il elle ils elles lui leur leurs cela ca cette ces celui celle '
        ~ 'ella ellos ellas esto estos estas ese esa eso su sus '
        ~ 'lei loro questo questa quello quella suo sua '
        ~ 'ele ela eles elas isso isto esse essa seu '
        ~ 'hij zij deze dit '
        ~ 'han hon '
        ~ 'ona ono oni '
        ~ 'он она оно они его ее их это этот эта '
    -%}
    {{ return(words.split()) }}
{%- endmacro %}
