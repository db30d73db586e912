{#- Letters without case and accents: "Cuánto" and "cuanto" are one word. Beside `lower`, because Postgres in the
    C locale knows ASCII only, and letters must not depend on a database's locale. Position by position: from, to. -#}
{% macro fold_letters(text) -%}
    {%- set from_letters =
        'ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿĀāĂăĄąĆćĈĉĊċČčĎďĐđĒēĔĕĖėĘęĚěĜĝĞğĠġĢģĤĥ'
        ~ 'ĦħĨĩĪīĬĭĮįİıĲĴĵĶķĹĺĻļĽľĿŁłŃńŅņŇňŊŋŌōŎŏŐőŒœŔŕŖŗŘřŚśŜŝŞşŠšŢţŤťŦŧŨũŪūŬŭŮůŰűŲųŴŵŶŷŸŹźŻżŽžƠơƢƤƦƧƩƬƮƯưȘșȚț'
        ~ 'ΆΈΉΊΌΎΏΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫάέήίΰςϊϋόύώЀЁЂЃЄЅІЇЈЉЊЋЌЍЎЏАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯйѐёѓїќѝ'
        ~ 'ўҐҒҔҖҘҚҜҞҠҢԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖẠạẢảẤấẦầẨẩẪẫẬậẮắẰằẲẳẴẵẶặẸẹẺẻẼẽẾếỀềỂểỄễỆệỈỉỊịỌọỎỏỐốỒ'
        ~ 'ồỔổỖỗỘộỚớỜờỞởỠỡỢợỤụỦủỨứỪừỬửỮữỰựỲỳỴỵỶỷỸỹ'
    -%}
    {%- set to_letters =
        'aaaaaaaceeeeiiiidnoooooouuuuytsaaaaaaaceeeeiiiidnoooooouuuuytyaaaaaaccccccccddddeeeeeeeeeegggggggghh'
        ~ 'hhiiiiiiiiiiĳjjkkllllllŀllnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzooƣƥʀƨʃƭʈuusstt'
        ~ 'αεηιουωιαβγδεζηθικλμνξοπρστυφχψωιυαεηιυσιυουωееђгєѕііјљњћкиуџабвгдежзииклмнопрстуфхцчшщъыьэюяиеегіки'
        ~ 'уґғҕҗҙқҝҟҡңաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆaaaaaaaaaaaaaaaaaaaaaaaaeeeeeeeeeeeeeeeeiiiiooooooo'
        ~ 'ooooooooooooooooouuuuuuuuuuuuuuyyyyyyyy'
    -%}
    translate({{ text }}, '{{ from_letters }}', '{{ to_letters }}')
{%- endmacro %}
