# ruff: noqa: RUF001 - words of several scripts are this module's business
"""What the built-in model answers to each kind: made of the conversation's own words.

Counting, comparing and cutting; every function is linear in the length of what it reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from tasks_app.generation import kinds
from tasks_app.generation.completion import plain_text
from tasks_app.generation.emoji_words import emoji_for
from tasks_app.generation.extract import (
    core_words,
    keywords,
    ranked_sentences,
    sentences,
    shared_terms,
    terms,
    title_from,
    topics,
)
from tasks_app.generation.guide import QUESTIONS
from tasks_app.generation.kinds import Answer, Subject
from tasks_app.generation.stopwords import CJK, language_of, small_words

MOST_QUERY_WORDS = 8
MOST_COMPLETION_WORDS = 12
LONGEST_DESCRIPTION = 400
_PUNCTUATION = " \t\r\n\"'`*_#.,;:!?…-–—()[]{}<>«»„“”‚‘’¿¡。，！？"
_PIECE = re.compile(r"\S+")
# How people ask for a picture; the picture itself comes after.
_PICTURE_WORDS = small_words(
    """draw paint sketch generate create make show render imagine picture image photo photograph
    illustration drawing painting zeichne zeichnen male malen erstelle erstellen generiere bild
    foto zeichnung gemälde dessine dessiner peins crée créer génère dessin dibuja dibujar pinta
    crea crear genera imagen dibujo disegna disegnare dipingi immagine disegno desenhe desenhar
    pinte crie criar gere imagem desenho нарисуй нарисовать создай сгенерируй картинку изображение
    рисунок фото"""
)


def title(subject: Subject) -> Answer:
    asked = [text for role, text in _said(subject) if role == "user"]
    texts = asked or [text for _, text in _said(subject)]
    return next((found for found in map(title_from, texts) if found), "")


def follow_ups(subject: Subject) -> Answer:
    found = _topics(subject, 3)
    if not found:
        return []
    pair = (found[0], found[1 % len(found)])
    asked = QUESTIONS[language_of(" ".join(subject.asked()))]
    # With one topic alone, only the question that names one.
    return [question.format(*pair) for question in (asked if len(found) > 1 else asked[:1])]


def tags(subject: Subject) -> Answer:
    return [topic[:1].upper() + topic[1:] for topic in _topics(subject, 5)] or kinds.DEFAULT_TAGS


def image_prompt(subject: Subject) -> Answer:
    asked = next((text for text in reversed(subject.asked()) if terms(text)), "")
    parts = [_without_request(sentence) for sentence in sentences(asked)]
    told = [part for part in parts if terms(part)]
    return ", ".join(told)[:LONGEST_DESCRIPTION] or " ".join(_topics(subject, 5))


def queries(subject: Subject) -> Answer:
    last = subject.asked()[-1]
    found = ranked_sentences(sentences(last), last)[:1] if subject.type == kinds.RETRIEVAL else []
    core = _query(last)
    about = [topic for topic in _topics(subject, 3) if topic.lower() not in core.lower()]
    if len(core.split()) < 2 and not CJK.search(core):  # noqa: PLR2004 "And the price?" stands not alone
        core = " ".join([*about, core]).strip()
        about = []
    wide = " ".join([*core.split()[:2], *about[:2]]) if about and core else ""
    made = [sentence.strip(_PUNCTUATION) for sentence in found] + [core, wide]
    return list(dict.fromkeys(query for query in made if query))[:3]


def completion(subject: Subject) -> Answer:
    """Go on as the conversation once went on after the same words; "" where it never did."""
    begun = subject.prompt
    said = [text for _, text in _said(subject) if text.strip() != begun.strip()]
    if not begun.strip() or not said:
        return ""
    words = [match[0] for match in _PIECE.finditer("\n".join(said))]
    typed = begun.split()
    is_open = not begun[-1].isspace()  # the last word may go on
    return _after(words, typed, 3) or _after(words, typed, 2) or _rest(words, typed, is_open)


def _after(words: Sequence[str], typed: Sequence[str], count: int) -> str:
    """Return what followed the last `count` typed words, up to the sentence's end."""
    end = [_plain(word) for word in typed[-count:]]
    if len(end) < count:
        return ""
    plain = [_plain(word) for word in words]
    for index in range(len(plain) - count):
        if plain[index : index + count] == end and not _ends(words[index + count - 1]):
            return " " + " ".join(_to_sentence_end(words[index + count :]))
    return ""


def _rest(words: Sequence[str], typed: Sequence[str], is_open: bool) -> str:
    """Return the rest of a word that is half typed, as somebody wrote it before."""
    begun = _plain(typed[-1])
    if not is_open or len(begun) < 3:  # noqa: PLR2004 fewer letters may become anything
        return ""
    whole = (word.strip(_PUNCTUATION) for word in words)
    longer = (word for word in whole if word.lower().startswith(begun) and len(word) > len(begun))
    return next((word[len(begun) :] for word in longer), "")


def _to_sentence_end(words: Sequence[str]) -> Iterator[str]:
    for word in words[:MOST_COMPLETION_WORDS]:
        yield word
        if _ends(word):
            return


def _ends(word: str) -> bool:
    return word.rstrip("\"'”’»)")[-1:] in {".", "!", "?", "…"}


def _plain(word: str) -> str:
    return word.strip(_PUNCTUATION).lower()


def emoji(subject: Subject) -> Answer:
    return emoji_for(subject.prompt) or kinds.NEUTRAL_EMOJI


def merged(subject: Subject) -> Answer:
    """Return the answer that agrees most with the others, and what only the others say."""
    answers = sorted(
        subject.responses, key=lambda text: _agreement(text, subject.responses), reverse=True
    )
    kept = answers[0].rstrip()
    known = set(terms(kept))
    more = []
    for sentence in (said for answer in answers[1:] for said in sentences(answer)):
        own = set(terms(sentence))
        if own and len(own - known) > len(own) / 2:
            known |= own
            more.append(sentence)
    return "\n\n".join([kept, *([" ".join(more)] if more else [])])


def _agreement(text: str, others: Sequence[str]) -> tuple[int, int]:
    """Return how much of a text the others say too; its length decides between equals."""
    return sum(shared_terms(text, other) for other in others if other is not text), len(text)


def _said(subject: Subject) -> list[tuple[str, str]]:
    return [
        (str(message.get("role", "user")), plain_text(message.get("content")))
        for message in subject.messages
    ]


def _topics(subject: Subject, count: int) -> list[str]:
    """Return what the conversation is about; what its user says counts for more."""
    said = [(role, text) for role, text in _said(subject) if role in {"user", "assistant"}]
    asked = "\n".join(text for role, text in said if role == "user")
    return topics("\n".join(text for _, text in said), count, emphasis=asked)


def _query(text: str) -> str:
    if CJK.search(text):
        return " ".join(text.split()).strip(_PUNCTUATION)[:60]
    return " ".join(core_words(text)[:MOST_QUERY_WORDS]) or " ".join(keywords(text, 3))


def _without_request(sentence: str) -> str:
    words = sentence.split()
    start, end = 0, len(words)
    while start < end and _is_request(words[start]):
        start += 1
    while start < end and not terms(words[end - 1]):
        end -= 1
    return " ".join(words[start:end]).strip(_PUNCTUATION)


def _is_request(word: str) -> bool:
    plain = _plain(word).partition("-")[0]  # dessine-moi
    return plain in _PICTURE_WORDS or not terms(plain)


ANSWERS: dict[str, Callable[[Subject], Answer]] = {
    kinds.TITLE.task: title,
    kinds.FOLLOW_UP.task: follow_ups,
    kinds.TAGS.task: tags,
    kinds.IMAGE_PROMPT.task: image_prompt,
    kinds.QUERIES.task: queries,
    kinds.AUTO.task: completion,
    kinds.EMOJI.task: emoji,
    kinds.MOA.task: merged,
}
