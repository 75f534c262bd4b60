# ruff: noqa: RUF001 - the punctuation of several scripts is this module's business
"""Finds sentences, keywords and a title in text: plain counting, no model, no download."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from tasks_app.generation.stopwords import ALL_STOP_WORDS, CJK, CJK_SMALL, WORD

LONGEST_TEXT = 60_000
LONGEST_SENTENCE = 400
_LONGEST_ABBREVIATION = 32  # characters before a full stop that are looked at
LONGEST_TITLE = 80
TITLE_WORDS = 8
TITLE_CJK_CHARS = 20
_SHORTEST_WORD = 3
_ABBREVIATIONS = re.compile(
    r"(?:z\.b|d\.h|u\.a|usw|bzw|ca|nr|dr|prof|mrs?|ms|st|vs|etc|e\.g|i\.e|no|p\.ej|sra?|sig|fig"
    r"|\w|\d+)"
)
# Possessive, and only where a run begins: a thousand exclamation marks are looked at once.
_END = re.compile(r"((?<![.!?…])[.!?…]++[\"'»”’)\]]*+)\s++|([。！？]++[」』”]*+)|\n++")
_MARKUP = re.compile(r"^\s*(?:[-*+•>#]+|\d+[.)])\s+")
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
# Overlapping, so that of three words both pairs are seen.
_PAIR = re.compile(r"(?<![^\W_])(?=([^\W\d_]{3,40}) ([^\W\d_]{3,40})(?![^\W_]))")
_PUNCTUATION = " \t\r\n\"'`*_#.,;:!?…-–—()[]{}<>«»„“”‚‘’/\\|。，！？、：；「」『』¿¡"


def sentences(text: str) -> list[str]:
    """Split text into its sentences; code blocks are left out, lists give one per line."""
    text = _CODE.sub("\n", text[-LONGEST_TEXT:])
    found: list[str] = []
    start = 0
    for match in _END.finditer(text):
        before = text[max(start, match.start() - _LONGEST_ABBREVIATION) : match.start()]
        if match.group(1) and _is_abbreviation(before, match.group(1)):
            continue
        found.append(text[start : match.end()])
        start = match.end()
    found.append(text[start:])
    cleaned = (_MARKUP.sub("", " ".join(part.split())) for part in found)
    return [_shortened(part, LONGEST_SENTENCE) for part in cleaned if WORD.search(part)]


def terms(text: str) -> list[str]:
    """Return the words that carry a topic, in order; pairs of letters for CJK text."""
    found: list[str] = []
    for word in WORD.findall(text.lower()):
        if CJK.search(word):
            found += _cjk_pairs(word)
        elif len(word) >= _SHORTEST_WORD and word not in ALL_STOP_WORDS and not word.isdecimal():
            found.append(word)
    return found


def keywords(text: str, count: int = 5) -> list[str]:
    """Return the most frequent topic words as the text writes them, the earliest first on a tie."""
    text = text[-LONGEST_TEXT:]
    counts = Counter(terms(text))
    written: dict[str, str] = {}
    for word in WORD.findall(text):
        # A word that stands capitalised inside a sentence is meant to be.
        written.setdefault(word.lower(), word)
    ranked = sorted(counts, key=lambda term: -counts[term] * (1 + min(len(term), 12) / 12))
    return [written.get(term, term) for term in ranked[:count]]


def topics(text: str, count: int = 5, *, emphasis: str = "") -> list[str]:
    """Return what a text is about: keywords, and pairs of words that it repeats, as one topic.

    Words of `emphasis` count for more. A word that is another form of an earlier one is left out.
    """
    text = text[-LONGEST_TEXT:]
    found: list[str] = []
    for word in keywords(f"{emphasis}\n{text}", 2 * count):
        if not any(_is_form_of(word.lower(), other.lower()) for other in found):
            found.append(word)
    found = found[:count]
    lowered = {word.lower() for word in found}
    pairs = Counter(_pairs(text))
    for pair, times in pairs.most_common(count):
        first, second = pair.lower().split()
        if times > 1 and {first, second} <= lowered:
            # The pair stands where the first of its words stood.
            places = [i for i, word in enumerate(found) if word.lower() in {first, second}]
            found[places[0]] = pair
            found = [word for i, word in enumerate(found) if i not in places[1:]]
            lowered -= {first, second}
    return found


def _is_form_of(word: str, other: str) -> bool:
    """Tell whether two words seem to differ by an ending only: plural, case, gender."""
    same = max(4, min(len(word), len(other)) - 2)
    return abs(len(word) - len(other)) <= 2 and word[:same] == other[:same]  # noqa: PLR2004 letters


def _pairs(text: str) -> Iterator[str]:
    """Yield topic words that follow each other with only a space between them."""
    for match in _PAIR.finditer(text):
        first, second = match[1], match[2]
        if not any(_is_small(word) or len(word) < _SHORTEST_WORD for word in (first, second)):
            yield f"{first} {second}"


def core_words(text: str) -> list[str]:
    """Return the topic words of a text in their order, each once, as they are written."""
    kept: dict[str, str] = {}
    for word in text[:LONGEST_TEXT].split():
        plain = word.strip(_PUNCTUATION)
        if plain and not _is_small(plain):
            kept.setdefault(plain.lower(), plain)
    return list(kept.values())


def ranked_sentences(candidates: Sequence[str], question: str = "") -> list[str]:
    """Order sentences by how much they share with the others and with the question.

    A sentence counts for the topic words it has in common with other sentences (a weighted
    degree in the graph of sentences), more for words of the question; length is evened out.
    """
    bags = [frozenset(terms(sentence)) for sentence in candidates]
    spread = Counter(term for bag in bags for term in bag)
    asked = frozenset(terms(question))
    total = len(candidates)

    def weight(index: int) -> float:
        bag = bags[index]
        shared = sum((spread[term] - 1) * math.log(1 + total / spread[term]) for term in bag)
        answer = 3.0 * total * len(bag & asked) / (1 + len(asked))
        return (shared + answer) / (4 + len(bag))

    order = sorted(range(total), key=lambda index: (-weight(index), index))
    seen: set[str] = set()
    chosen = []
    for index in order:
        plain = candidates[index].casefold()
        if plain not in seen:
            seen.add(plain)
            chosen.append(candidates[index])
    return chosen


def shared_terms(one: str, other: str) -> int:
    """Count the topic words that two texts have in common."""
    return len(set(terms(one)) & set(terms(other)))


def title_from(text: str) -> str:
    """Make a title of the text's first telling sentence; "" when it has no word at all."""
    found = sentences(text[:LONGEST_TEXT])
    telling = next((sentence for sentence in found if _is_telling(sentence)), "")
    telling = telling or next((sentence for sentence in found if _core(sentence)), "")
    if CJK.search(telling):
        return _shortened(telling.strip(_PUNCTUATION), TITLE_CJK_CHARS)
    words = _core(telling)[:TITLE_WORDS]
    while words and _is_small(words[-1]):
        words.pop()
    title = " ".join(words).strip(_PUNCTUATION)
    if words and words[0].strip(_PUNCTUATION).isalpha():
        title = title[:1].upper() + title[1:]
    return _shortened(title, LONGEST_TITLE)


def _is_telling(sentence: str) -> bool:
    return len(_core(sentence)) > 1 or len(_cjk_pairs(sentence)) > 1


def _core(sentence: str) -> list[str]:
    """Return the sentence's words from the first topic word on: "How do I …" says nothing."""
    words = sentence.split()
    while words and _is_small(words[0]):
        words.pop(0)
    return words


def _is_small(word: str) -> bool:
    parts = WORD.findall(word.lower())
    return all(part in ALL_STOP_WORDS for part in parts)


def _is_abbreviation(before: str, end: str) -> bool:
    last = before.rsplit(None, 1)[-1].lower() if before.strip() else ""
    return end == "." and _ABBREVIATIONS.fullmatch(last) is not None


def _cjk_pairs(word: str) -> list[str]:
    pairs = [
        run[start : start + 2] for run in CJK.findall(word) for start in range(max(len(run) - 1, 1))
    ]
    return [pair for pair in pairs if not CJK_SMALL.search(pair)]


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    cut = text[: longest - 1]
    at_space = cut.rfind(" ")
    return (cut[:at_space] if at_space > longest // 2 else cut).rstrip() + "…"
