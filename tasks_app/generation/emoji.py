"""What an emoji is, and which one a text means by it."""

from __future__ import annotations

import re
import unicodedata

from tasks_app.generation.parsing_json import unescaped

# Unicode's pictographs: those that are shown as such by themselves, and with U+FE0F behind them.
_PICTOGRAPH = (
    "[\U0001f300-\U0001f64f\U0001f680-\U0001f6ff\U0001f7e0-\U0001f7eb\U0001f900-\U0001f9ff"
    "\U0001fa70-\U0001faff\U0001f004\U0001f0cf\U0001f18e\U0001f191-\U0001f19a"
    "\u231a\u231b\u23e9-\u23f3\u25fd\u25fe\u2600-\u2604\u260e\u2611\u2614\u2615\u2618\u261d\u2620"
    "\u2622\u2623\u2626\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u2648-\u2653\u265f\u2660\u2663"
    "\u2665\u2666\u2668\u267b\u267e\u267f\u2692-\u2697\u2699\u269b\u269c\u26a0\u26a1\u26a7\u26aa"
    "\u26ab\u26b0\u26b1\u26bd\u26be\u26c4\u26c5\u26c8\u26ce\u26cf\u26d1\u26d3\u26d4\u26e9\u26ea"
    "\u26f0-\u26f5\u26f7-\u26fa\u26fd\u2702\u2705\u2708-\u270d\u270f\u2712\u2728\u2733\u2734\u2744"
    "\u2747\u274c\u274e\u2753-\u2755\u2757\u2763\u2764\u2795-\u2797\u27b0\u27bf\u2b1b\u2b1c\u2b50"
    "\u2b55\u3030]"
)
_ONE = f"{_PICTOGRAPH}\ufe0f?[\U0001f3fb-\U0001f3ff]?"
_FLAG = "[\U0001f1e6-\U0001f1ff]{2}|\U0001f3f4[\U000e0061-\U000e007a]{1,8}\U000e007f"
_KEYCAP = "[0-9#*]\ufe0f?\u20e3"
_EMOJI = re.compile(f"{_FLAG}|{_KEYCAP}|{_ONE}(?:\u200d{_ONE}){{0,6}}")
_SHORTCODE = re.compile(r":([a-z][a-z0-9_+-]{1,40}):")


def first_emoji(text: str) -> str | None:
    """Return the first emoji, whole with its modifiers and joiners, None when there is none.

    Where there is no other, one in JSON's escapes counts, and a name between colons (`:fire:`).
    """
    found = _EMOJI.search(text) or _EMOJI.search(unescaped(text))
    if found:
        return found[0]
    return next(filter(None, (_named(match[1]) for match in _SHORTCODE.finditer(text))), None)


def _named(shortcode: str) -> str | None:
    name = shortcode.replace("_", " ").replace("-", " ").upper()
    try:
        sign = unicodedata.lookup(name)
    except KeyError:
        return None
    return sign if _EMOJI.fullmatch(sign) else None
