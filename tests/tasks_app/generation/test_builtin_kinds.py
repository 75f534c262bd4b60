# ruff: noqa: RUF001 - several languages are tested here
"""What the built-in model makes of a conversation, for each kind, in seven languages and more."""

from __future__ import annotations

import pytest

from tasks_app.generation import builtin_kinds as builtin
from tasks_app.generation.guide import PHRASES, QUESTIONS
from tasks_app.generation.kinds import DEFAULT_TAGS, KINDS, NEUTRAL_EMOJI, RETRIEVAL, Subject
from tasks_app.generation.stopwords import STOP_WORDS, language_of

# The question, the answer, the next question; then what each kind is to say of them.
SAMPLES = {
    "en": (
        "How do I bake sourdough bread at home? My sourdough starter smells like vinegar.",
        "Sourdough bread needs time. Feed the sourdough starter twice a day.",
        "And how long does the starter keep in the fridge?",
        "Bake sourdough bread at home", "Sourdough starter", "fridge",
    ),
    "de": (
        "Wie backe ich Sauerteigbrot zu Hause? Mein Sauerteig riecht nach Essig.",
        "Sauerteigbrot braucht Zeit. Füttere den Sauerteig zweimal am Tag.",
        "Und wie lange hält der Sauerteig im Kühlschrank?",
        "Backe ich Sauerteigbrot zu Hause", "Sauerteig", "Kühlschrank",
    ),
    "fr": (
        "Comment faire du pain au levain à la maison ? Mon levain sent le vinaigre.",
        "Le pain au levain demande du temps. Nourris le levain deux fois par jour.",
        "Combien de temps le levain se garde-t-il au réfrigérateur ?",
        "Pain au levain à la maison", "Levain", "réfrigérateur",
    ),
    "es": (
        "¿Cómo hago pan de masa madre en casa? Mi masa madre huele a vinagre.",
        "El pan de masa madre necesita tiempo. Alimenta la masa madre dos veces al día.",
        "¿Cuánto tiempo dura la masa madre en la nevera?",
        "Pan de masa madre en casa", "Masa madre", "nevera",
    ),
    "it": (
        "Come faccio il pane con il lievito madre a casa? Il mio lievito madre odora di aceto.",
        "Il pane con lievito madre richiede tempo. Rinfresca il lievito due volte al giorno.",
        "Quanto dura il lievito madre in frigorifero?",
        "Pane con il lievito madre a casa", "Lievito madre", "frigorifero",
    ),
    "pt": (
        "Como faço pão de fermentação natural em casa? O meu fermento cheira a vinagre.",
        "O pão de fermentação natural precisa de tempo. Alimente o fermento todos os dias.",
        "Quanto tempo o fermento dura na geladeira?",
        "Pão de fermentação natural em casa", "Fermento", "geladeira",
    ),
    "ru": (
        "Как испечь хлеб на закваске дома? Моя закваска пахнет уксусом.",
        "Хлебу на закваске нужно время. Подкармливайте закваску два раза в день.",
        "Сколько закваска хранится в холодильнике?",
        "Испечь хлеб на закваске дома", "Закваска", "холодильнике",
    ),
}  # fmt: skip


def subject(language: str, **fields: object) -> Subject:
    asked, told, more = SAMPLES[language][:3]
    messages = [
        {"role": "system", "content": "You are a baker."},
        {"role": "user", "content": asked},
        {"role": "assistant", "content": told},
        {"role": "user", "content": more},
    ]
    return Subject(**{"messages": messages, "prompt": asked, **fields})  # type: ignore[arg-type]


def test_every_kind_has_an_answer_and_every_language_its_phrases():
    assert set(builtin.ANSWERS) == {kind.task for kind in KINDS.values()}
    assert set(SAMPLES) == set(STOP_WORDS) == set(PHRASES) == set(QUESTIONS)


@pytest.mark.parametrize("language", SAMPLES)
def test_each_language_is_known_and_served(language: str):
    asked, told, more, title, topic, place = SAMPLES[language]
    about = subject(language)
    assert [language_of(text) for text in (f"{asked} {more}", told)] == [language] * 2
    assert builtin.title(about) == title
    tags = builtin.tags(about)
    assert tags[0] == topic
    assert len({tag.casefold() for tag in tags}) == len(tags)
    questions = builtin.follow_ups(about)
    assert len(questions) == 3
    start = QUESTIONS[language][0].split("{0}")[0]
    assert questions[0].startswith(start)
    assert topic.lower() in questions[0].lower()
    queries = builtin.queries(about)
    assert all(place in query for query in queries[:1])
    assert not any(query.endswith("?") for query in queries)
    passages = builtin.queries(subject(language, type=RETRIEVAL))
    assert passages[0] == more.strip("¿? ")
    assert builtin.emoji(about) in {"🍞", "🏠"}
    begun = " ".join(asked.split()[:3])
    assert asked.startswith(begun + str(builtin.completion(subject(language, prompt=begun))))
    assert builtin.merged(subject(language, responses=[told, f"{told} {more}"])).startswith(told)


@pytest.mark.parametrize(
    ("asked", "picture"),
    [
        ("Draw me a picture of a red fox in the snow, please.", "red fox in the snow"),
        ("Zeichne mir bitte ein Bild von einem Fuchs im Schnee.", "Fuchs im Schnee"),
        ("Dessine-moi un renard dans la neige", "renard dans la neige"),
        ("Dibuja un zorro rojo en la nieve", "zorro rojo en la nieve"),
        ("Disegna una volpe nella neve", "volpe nella neve"),
        ("Desenhe uma raposa na neve", "raposa na neve"),
        ("Нарисуй картинку: лиса в снегу", "лиса в снегу"),
    ],
)
def test_a_picture_is_described_without_the_request_for_it(asked: str, picture: str):
    messages = [{"role": "user", "content": asked}]
    assert builtin.image_prompt(Subject(messages=messages)) == picture


@pytest.mark.parametrize(
    ("begun", "rest"),
    [
        ("How do I bake sour", "dough"),
        ("My sourdough starter", " smells like vinegar."),
        ("my SOURDOUGH starter ", " smells like vinegar."),
        ("Nobody said this before", ""),
        ("", ""),
        ("?!", ""),
    ],
)
def test_a_text_goes_on_as_it_once_went_on(begun: str, rest: str):
    assert builtin.completion(subject("en", prompt=begun)) == rest


def test_a_question_that_does_not_stand_alone_takes_its_topic_along():
    messages = [
        {"role": "user", "content": "Which tomato varieties stay small on a balcony?"},
        {"role": "user", "content": "And the price?"},
    ]
    [query, *_] = builtin.queries(Subject(messages=messages))
    assert "price" in query
    assert "tomato" in query.lower()


def test_merging_keeps_what_only_one_answer_says():
    answers = ["Water the tomatoes daily.", "Water the tomatoes daily. Mulch keeps soil moist."]
    merged = builtin.merged(Subject(responses=["Feed potassium weekly.", *answers]))
    assert "Mulch" in merged
    assert "potassium" in merged
    assert merged.count("daily") == 1


def test_chinese_and_japanese_are_served_too():
    messages = [{"role": "user", "content": "阳台上怎么种番茄？番茄需要多少水？"}]
    about = Subject(messages=messages, prompt="番茄")
    assert "番茄" in builtin.tags(about)
    assert "番茄" in builtin.queries(about)[0]
    assert builtin.title(about)


def test_nothing_makes_nothing_up():
    empty = Subject(messages=[{"role": "user", "content": "?!"}], prompt="?!", responses=[""])
    assert builtin.title(empty) == ""
    assert builtin.tags(empty) == DEFAULT_TAGS
    assert builtin.follow_ups(empty) == []
    assert builtin.emoji(empty) == NEUTRAL_EMOJI
    assert builtin.completion(empty) == ""
    assert builtin.merged(empty) == ""
