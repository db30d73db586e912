{#- What people send to answer or to move on, not to ask; folded as texts are. -#}
{% macro acknowledgement_phrases() -%}
    {{ return([
        'yes', 'yeah', 'yep', 'yup', 'sure', 'ok', 'okay', 'k', 'no', 'nope', 'right', 'correct', 'exactly',
        'thanks', 'thank you', 'thx', 'ty', 'thanks a lot', 'many thanks', 'so much', 'very much', 'please',
        'great', 'perfect', 'good', 'nice', 'cool', 'awesome', 'excellent', 'wonderful', 'got it', 'i see',
        'understood', 'makes sense', 'fine', 'done', 'continue', 'go on', 'go ahead', 'keep going', 'carry on',
        'proceed', 'next', 'more', 'stop', 'hello', 'hi', 'bye', 'goodbye', 'ja', 'nein', 'danke', 'vielen dank',
        'gut', 'weiter', 'genau', 'bitte', 'oui', 'non', 'merci', 'merci beaucoup', 'd accord', 'parfait',
        'continuez', 'si', 'gracias', 'muchas gracias', 'vale', 'perfecto', 'continua', 'sigue', 'grazie',
        'va bene', 'perfetto', 'sim', 'nao', 'obrigado', 'obrigada', 'bedankt', 'dank je', 'tack', 'takk', 'tak',
        'dziekuje', 'nie', 'да', 'нет', 'спасибо', 'хорошо', 'дальше', 'evet', 'hayir', 'tamam', 'tesekkurler',
        'شكرا', 'نعم', 'लिए धन्यवाद', 'हाँ', '谢谢 谢', '谢谢', '好的 的', '继续 续', '是的 的', '好', '是', 'はい い', '続け て けて',
        'ありがとう', '네', '감사 합니 다 사합 니다', '계속 속',
    ]) }}
{%- endmacro %}
