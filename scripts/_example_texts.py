"""What the people of the example world say to the assistant: families of questions that mean the same, by language.

`asks` are ways to ask one thing about the entity `{e}`, the last of them in the fewest words; `follow_ups` are other
questions about it, which name it, and `short_follow_ups` leave its name out, as most people do.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    category: str
    entities: tuple[str, ...]
    asks: tuple[str, ...]
    follow_ups: tuple[str, ...]
    short_follow_ups: tuple[str, ...]


FAMILIES: dict[str, tuple[Family, ...]] = {
    "en": (
        Family(
            "billing",
            ("Pro plan", "Team plan", "Starter plan", "annual plan", "student plan", "family plan"),
            (
                "How much does the {e} cost per month?",
                "Can you tell me what the {e} costs each month?",
                "What is the monthly cost of the {e}?",
                "{e} cost per month",
            ),
            (
                "Does the {e} include phone support?",
                "How many people can share the {e}?",
                "Can I cancel the {e} at any time?",
            ),
            ("Does it include phone support?", "How many people can share it?"),
        ),
        Family(
            "billing",
            (
                "March invoice",
                "April invoice",
                "refund for order 4471",
                "last card charge",
                "VAT receipt",
                "credit note",
            ),
            (
                "Where can I find the {e}?",
                "I can't find my {e}, where is it?",
                "Show me where to find the {e} in my account",
                "find {e}",
            ),
            (
                "Who approved the {e}?",
                "Can the {e} be sent to my accountant?",
                "Why does the {e} have the wrong address?",
            ),
            ("Who approved it?", "Can you send it to my accountant?"),
        ),
        Family(
            "how_to",
            ("sales dashboard", "weekly report", "contact list", "project timeline", "expense sheet", "survey answers"),
            (
                "How do I export the {e} to Excel?",
                "What is the way to save the {e} as an Excel file?",
                "Please explain how to export my {e} into an Excel file",
                "export {e} Excel",
            ),
            ("Who else can see the {e}?", "How do I delete the {e}?", "Can the {e} be refreshed every hour?"),
            ("Who else can see it?", "How do I delete it?"),
        ),
        Family(
            "how_to",
            ("Outlook", "Google Calendar", "Slack", "Jira", "Salesforce", "Dropbox"),
            (
                "How can I connect {e} to my workspace?",
                "What are the steps to connect {e} with the workspace?",
                "I want to connect my workspace to {e}, how does that work?",
                "connect {e} workspace",
            ),
            ("What data does {e} send to us?", "How often does {e} sync?", "Is {e} part of the free version?"),
            ("What data does it send to us?", "How often does it sync?"),
        ),
        Family(
            "code",
            ("Python", "JavaScript", "Go", "Rust", "Java", "SQL"),
            (
                "How do I parse a date string in {e}?",
                "What is the best way to parse dates from a string in {e}?",
                "Show me {e} code that parses a date string",
                "parse date string {e}",
            ),
            (
                "Which {e} library knows about time zones?",
                "How do I write a unit test in {e}?",
                "Is {e} faster than C for sorting numbers?",
            ),
            ("Which library knows about time zones?", "And how do I write a unit test?"),
        ),
        Family(
            "code",
            (
                "KeyError in import_users.py",
                "segfault in the image worker",
                "timeout in the payment job",
                "memory leak in the parser",
                "deadlock in the order queue",
                "off by one error in the pager",
            ),
            (
                "Why do I get a {e}?",
                "What is the cause when I get a {e}?",
                "Help me understand why there is a {e}",
                "cause {e}",
            ),
            ("How do I log every {e}?", "Which test would catch the {e}?", "Since which release do we see the {e}?"),
            ("Which test would catch it?", "Since which release do we see this?"),
        ),
        Family(
            "writing",
            (
                "resignation letter",
                "thank you note to my mentor",
                "cover letter for a bakery job",
                "apology to a customer",
                "wedding invitation",
                "product announcement",
            ),
            (
                "Write a short {e}",
                "Please write me a {e} that is short",
                "I need a short {e}, can you write one?",
                "short {e}",
            ),
            ("Which font suits a {e}?", "When should I send the {e}?", "Translate the {e} into French"),
            ("Translate it into French", "When should I send it?"),
        ),
        Family(
            "writing",
            ("quarterly review", "board meeting", "safety training", "team offsite", "budget talk", "design workshop"),
            (
                "Summarise the notes of the {e}",
                "Give me a summary of the {e} notes",
                "Can you summarise my notes from the {e}?",
                "summary {e} notes",
            ),
            ("Who attended the {e}?", "When is the next {e}?", "Book a room for the {e}"),
            ("Who attended?", "When is the next one?"),
        ),
        Family(
            "facts",
            ("Lisbon", "Nairobi", "Osaka", "Toronto", "Lima", "Gdansk"),
            (
                "What will the weather be in {e} tomorrow?",
                "Tell me tomorrow's weather in {e}",
                "Is the weather in {e} going to be good tomorrow?",
                "weather {e} tomorrow",
            ),
            (
                "What is the population of {e}?",
                "Which museums are open in {e} on Monday?",
                "How do I get from the airport to the centre of {e}?",
            ),
            ("How many people live there?", "Which museums are open on Monday?"),
        ),
        Family(
            "facts",
            ("Amazon river", "Baltic Sea", "Lake Titicaca", "Sahara", "Danube", "Great Barrier Reef"),
            (
                "How was the {e} formed?",
                "How did the {e} form?",
                "Explain to me how the {e} was formed",
                "{e} formation",
            ),
            (
                "Which animals live in the {e}?",
                "Is it safe to travel to the {e} in August?",
                "Who first made a map of the {e}?",
            ),
            ("Which animals live there?", "Who first made a map of it?"),
        ),
        Family(
            "health",
            ("ibuprofen", "paracetamol", "amoxicillin", "melatonin", "vitamin D", "aspirin"),
            (
                "What is the right dose of {e} for an adult?",
                "How large a dose of {e} is right for adults?",
                "Tell me the adult dose of {e}",
                "{e} dose adult",
            ),
            (
                "Does {e} make you sleepy?",
                "Can I drink alcohol with {e}?",
                "What does a pack of {e} cost at the pharmacy?",
            ),
            ("Does it make you sleepy?", "Can I drink alcohol with it?"),
        ),
        Family(
            "health",
            ("tension headache", "sprained ankle", "tennis elbow", "stiff neck", "sore throat", "migraine"),
            (
                "What helps against a {e}?",
                "What can I do that helps against a {e}?",
                "Which remedies help with a {e}?",
                "remedies {e}",
            ),
            (
                "How long does a {e} last?",
                "Should I see a doctor with a {e}?",
                "Can children get a {e}?",
            ),
            ("How long does it last?", "Should I see a doctor?"),
        ),
    ),
    "es": (
        Family(
            "billing",
            ("plan Pro", "plan anual", "plan familiar", "plan de estudiante"),
            (
                "¿Cuánto cuesta el {e} al mes?",
                "¿Me dices cuánto cuesta cada mes el {e}?",
                "¿Qué precio tiene al mes el {e}?",
                "{e} precio al mes",
            ),
            ("¿El {e} incluye soporte telefónico?", "¿Cuántas personas pueden compartir el {e}?"),
            ("¿Incluye soporte telefónico?", "¿Cuántas personas lo pueden compartir?"),
        ),
        Family(
            "how_to",
            ("informe semanal", "panel de ventas", "calendario del proyecto", "listado de clientes"),
            (
                "¿Cómo exporto el {e} a Excel?",
                "¿De qué forma puedo exportar el {e} a un archivo de Excel?",
                "Explícame cómo exportar a Excel el {e}",
                "exportar {e} Excel",
            ),
            ("¿Quién más puede ver el {e}?", "¿Cómo borro el {e}?"),
            ("¿Quién más lo puede ver?", "¿Y cómo lo borro?"),
        ),
        Family(
            "writing",
            ("carta de renuncia", "nota de agradecimiento", "invitación de boda", "disculpa para un cliente"),
            (
                "Escribe una {e} breve",
                "Necesito una {e} breve, ¿la puedes escribir?",
                "Por favor escríbeme una {e} que sea breve",
                "{e} breve",
            ),
            ("¿Cuándo debo enviar la {e}?", "Traduce la {e} al francés"),
            ("¿Cuándo debo enviarla?", "Tradúcela al francés"),
        ),
        Family(
            "facts",
            ("Sevilla", "Bogotá", "Valparaíso", "Oaxaca"),
            (
                "¿Qué tiempo hará mañana en {e}?",
                "Dime el tiempo que hará en {e} mañana",
                "¿Hará buen tiempo mañana en {e}?",
                "tiempo {e} mañana",
            ),
            ("¿Cuántos habitantes tiene {e}?", "¿Qué museos abren el lunes en {e}?"),
            ("¿Cuánta gente vive ahí?", "¿Qué museos abren el lunes?"),
        ),
        Family(
            "health",
            ("ibuprofeno", "paracetamol", "omeprazol", "melatonina"),
            (
                "¿Cuál es la dosis de {e} para un adulto?",
                "¿Qué dosis de {e} puede tomar un adulto?",
                "Dime la dosis para adultos de {e}",
                "dosis {e} adulto",
            ),
            ("¿El {e} da sueño?", "¿Puedo beber alcohol con {e}?"),
            ("¿Da sueño?", "¿Puedo beber alcohol?"),
        ),
    ),
    "de": (
        Family(
            "billing",
            ("Pro-Tarif", "Jahrestarif", "Familientarif", "Studententarif"),
            (
                "Was kostet der {e} im Monat?",
                "Wie viel kostet mich der {e} pro Monat?",
                "Wie hoch sind die Kosten für den {e} im Monat?",
                "{e} Kosten Monat",
            ),
            ("Ist beim {e} eine Hotline dabei?", "Wie viele Leute können den {e} teilen?"),
            ("Ist eine Hotline dabei?", "Wie viele Leute können ihn teilen?"),
        ),
        Family(
            "how_to",
            ("Wochenbericht", "Projektplan", "Kontaktliste", "Spesenliste"),
            (
                "Wie exportiere ich {e} nach Excel?",
                "Wie kann ich {e} als Excel-Datei exportieren?",
                "Bitte erkläre mir den Export nach Excel für {e}",
                "{e} Excel exportieren",
            ),
            ("Wer kann {e} sonst noch sehen?", "Wie lösche ich {e} wieder?"),
            ("Wer kann das sonst noch sehen?", "Und wie lösche ich das wieder?"),
        ),
        Family(
            "facts",
            ("Leipzig", "Rostock", "Innsbruck", "Basel"),
            (
                "Wie wird das Wetter morgen in {e}?",
                "Sag mir das Wetter für morgen in {e}",
                "Wird das Wetter in {e} morgen schön?",
                "Wetter {e} morgen",
            ),
            ("Wie viele Einwohner hat {e}?", "Welche Museen in {e} haben am Montag offen?"),
            ("Wie viele Leute wohnen dort?", "Welche Museen haben am Montag offen?"),
        ),
        Family(
            "health",
            ("Ibuprofen", "Paracetamol", "Melatonin", "Magnesium"),
            (
                "Welche Dosis {e} ist für Erwachsene richtig?",
                "Wie hoch ist die richtige Dosis {e} für einen Erwachsenen?",
                "Nenne mir die Dosis von {e} für Erwachsene",
                "{e} Dosis Erwachsene",
            ),
            ("Macht {e} müde?", "Darf ich Alkohol trinken, wenn ich {e} nehme?"),
            ("Macht das müde?", "Darf ich dazu Alkohol trinken?"),
        ),
    ),
    "ja": (
        Family(
            "billing",
            ("プロプラン", "年間プラン", "家族プラン", "学生プラン"),
            (
                "{e}の料金は月いくらですか",
                "{e}は毎月いくらの料金がかかりますか",
                "月々の{e}の料金を教えてください",
                "{e} 月 料金",
            ),
            ("{e}に電話サポートは含まれますか", "{e}は何人で使えますか"),
            ("電話サポートはありますか", "何人で使えますか"),
        ),
        Family(
            "how_to",
            ("週報", "売上表", "連絡先一覧", "経費表"),
            (
                "{e}をExcelに書き出す方法は",
                "どうすれば{e}をExcelに書き出せますか",
                "{e}をExcelファイルに書き出す手順を教えてください",
                "{e} Excel 書き出し",
            ),
            ("{e}を見られるのは誰ですか", "{e}を削除したい"),
            ("誰が見られますか", "どうやって削除しますか"),
        ),
        Family(
            "facts",
            ("京都", "札幌", "那覇", "仙台"),
            (
                "明日の{e}の天気はどうですか",
                "{e}の明日の天気を教えてください",
                "明日は{e}の天気がいいですか",
                "{e} 明日 天気",
            ),
            ("{e}の人口は何人ですか", "月曜日に開いている{e}の美術館はどこですか"),
            ("何人住んでいますか", "月曜日に開いている美術館は"),
        ),
        Family(
            "health",
            ("イブプロフェン", "アスピリン", "ロキソニン", "メラトニン"),
            (
                "大人の{e}の用量はどれくらいですか",
                "{e}は大人ならどれくらいの用量ですか",
                "成人が飲む{e}の用量を教えてください",
                "{e} 用量 大人",
            ),
            ("{e}を飲むと眠くなりますか", "{e}とお酒を一緒に飲めますか"),
            ("眠くなりますか", "お酒も飲めますか"),
        ),
    ),
}

NARROWINGS = {
    "en": (" on my phone", " for a beginner", " in simple words", " with an example", " in two sentences"),
    "es": (" en el móvil", " para principiantes", " con un ejemplo"),
    "de": (" am Handy", " mit einem Beispiel", " in zwei Sätzen"),
    "ja": ("、簡単に", "、例つきで"),
}
ACKNOWLEDGEMENTS = {
    "en": ("thanks", "ok", "great, thank you", "got it", "perfect"),
    "es": ("gracias", "vale", "muchas gracias"),
    "de": ("danke", "ok", "vielen Dank"),
    "ja": ("ありがとう", "了解です"),
}
CORRECTIONS = {
    "en": ("That is not what I asked", "No, this is wrong", "You got that wrong"),
    "es": ("Eso no es lo que pregunté", "No, eso está mal"),
    "de": ("Das habe ich nicht gefragt", "Nein, das stimmt nicht"),
    "ja": ("それは聞いていません", "違います"),
}
# A follow-up is said again behind one of these.
LEAD_INS = {
    "en": ("I would like to know: ", "Please answer this: ", "Again: "),
    "es": ("Quiero saber: ", "Otra vez: "),
    "de": ("Ich möchte wissen: ", "Noch einmal: "),
    "ja": ("質問です、", "もう一度、"),
}
NAMED_FOLLOW_UPS = 0.3
REFUSAL = "I can't help with that. Please ask a professional."


def with_typo(text: str, where: float) -> str:
    """The text with two neighbouring letters of a long word swapped, or one lost where nothing can be swapped."""
    inside = [
        i
        for i in range(1, len(text) - 2)
        if text[i - 1].isalpha() and text[i].isalpha() and text[i + 1].isalpha() and text[i] != text[i + 1]
    ]
    if not inside:
        return text[:-1]
    i = inside[int(where * len(inside))]
    return text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def narrowed(text: str, tail: str) -> str:
    """The question with a condition added before its question mark."""
    return text[:-1] + tail + "?" if text.endswith("?") else text + tail


def conversation_texts(
    kinds: list[tuple[str, bool]], language: str, draws: list[tuple[float, float, float, float]]
) -> list[tuple[str, str]]:
    """The text of each turn of a session and its category, from what each turn is to the one before it, whether it is
    about health, and four uniforms a turn.
    """
    families = FAMILIES[language]
    texts: list[tuple[str, str]] = []
    family, entity, way, asked = families[0], "", 0, ""
    is_follow_up = False
    for (kind, is_health), (a, b, c, d) in zip(kinds, draws, strict=True):
        said = asked
        if kind in ("opening", "new_topic"):
            others = [other for other in families if (other.category == "health") == is_health]
            others = [other for other in others if not texts or other.category != family.category]
            family = others[int(a * len(others))]
            entity = family.entities[int(b * len(family.entities))]
            way = int(c * (len(family.asks) - 1))
            asked = family.asks[way].format(e=entity)
            is_follow_up = False
        elif kind == "follow_up":
            ways = (family.follow_ups, family.short_follow_ups)
            ways = ways if d < NAMED_FOLLOW_UPS else ways[::-1]
            heard = {text for text, _ in texts} | {asked}
            unheard = [[text for text in each if text.format(e=entity) not in heard] for each in ways]
            others = unheard[0] or unheard[1] or [text for text in ways[0] if text.format(e=entity) != asked]
            asked = others[int(c * len(others))].format(e=entity)
            is_follow_up = True
        elif kind in ("rephrase", "shortened") and is_follow_up:
            lead_ins = [words for words in LEAD_INS[language] if not asked.startswith(words)]
            asked = lead_ins[int(c * len(lead_ins))] + asked
        elif kind == "rephrase":
            way = (way + 1 + int(c * (len(family.asks) - 2))) % (len(family.asks) - 1)
            asked = family.asks[way].format(e=entity)
        elif kind == "shortened":
            asked = family.asks[-1].format(e=entity)
            asked = asked if asked != said else family.asks[way].format(e=entity)
        elif kind == "narrowed":
            tails = [tail for tail in NARROWINGS[language] if tail not in asked]
            asked = narrowed(asked, tails[int(c * len(tails))]) if tails else family.asks[way].format(e=entity)
        elif kind == "typo_fixed":
            # The turn before gets the typo, and so does what it repeats exactly.
            broken = with_typo(asked, d)
            for i in range(len(texts) - 1, -1, -1):
                if texts[i][0] != said:
                    break
                texts[i] = (broken, texts[i][1])
        elif kind == "acknowledgement":
            said = ACKNOWLEDGEMENTS[language][int(c * len(ACKNOWLEDGEMENTS[language]))]
        elif kind == "correction":
            said = CORRECTIONS[language][int(c * len(CORRECTIONS[language]))]
        texts.append((said if kind in ("acknowledgement", "correction") else asked, family.category))
    return texts
