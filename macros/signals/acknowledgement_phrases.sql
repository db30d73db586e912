{#- What people send to answer or to move on, not to ask; folded as texts are. -#}
{% macro acknowledgement_phrases() -%}
    {%- set phrases = [
        'yes', 'yeah', 'yep', 'yup', 'sure', 'ok', 'okay', 'k', 'no', 'nope', 'right', 'correct',
        'exactly', 'thanks', 'thank you', 'thx', 'ty', 'thanks a lot', 'many thanks', 'so much',
        'very much', 'please', 'great', 'perfect', 'good', 'nice', 'cool', 'awesome', 'excellent',
        'wonderful', 'got it', 'i see', 'understood', 'makes sense', 'fine', 'done', 'continue',
        'go on', 'go ahead', 'keep going', 'carry on', 'proceed', 'next', 'more', 'stop', 'hello',
        'hi', 'bye', 'goodbye', 'ja', 'nein', 'danke', 'vielen dank', 'gut', 'weiter', 'genau',
        'bitte', 'oui', 'non', 'merci', 'merci beaucoup', 'd accord', 'parfait', 'continuez', 'si',
        'gracias', 'muchas gracias', 'vale', 'perfecto', 'continua', 'sigue', 'grazie', 'va bene',
        'perfetto', 'sim', 'nao', 'obrigado', 'obrigada', 'bedankt', 'dank je', 'tack', 'takk',
        'tak', 'dziekuje', 'nie', 'да', 'нет', 'спасибо', 'хорошо', 'дальше', 'evet', 'hayir',
        'tamam', 'tesekkurler', 'شكرا', 'نعم', 'लिए धन्यवाद', 'हाँ', 'はい い', 'いい え いえ', 'どう も うも',
        'あり がと う りが とう', 'あり がと うご ざい ます りが とう ござ いま す', '了解 です 解で す', 'わか りま した かり まし た',
        'お願 いし ます 願い しま す', '大丈 夫で す 丈夫 です', '続け て けて', '好', '是', '好的 的', '是的 的', '谢谢 谢', '继续 续',
        '可以 以', '明白 了 白了', '没问 题 问题', '不是 是', '네', '감사 합니 다 사합 니다', '고마 워요 마워 요', '계속 속',
        '알겠 습니 다 겠습 니다'
    ] -%}
    {#- The longer of two that begin alike comes first, for engines that take the first that fits. -#}
    {{ return(phrases | sort(reverse=true)) }}
{%- endmacro %}
