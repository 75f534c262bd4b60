"""What a failed attempt leaves for operators: the exception's class and a bounded traceback."""

from __future__ import annotations

import traceback

from tasks_app.domain.codec import clean

LONGEST_TRACEBACK = 8_000  # characters; more of the end is kept, where the cause of it all is
KEPT_HEAD = 1_000
LONGEST_PATH = 300


def class_path(kind: type[BaseException]) -> str:
    """Return the dotted path by which Django's TaskError finds the class again."""
    return clean(f"{kind.__module__}.{kind.__qualname__}")[:LONGEST_PATH]


def traceback_text(error: BaseException) -> str:
    """Return the traceback as text, its middle left out when it is long; never raises."""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - attributes of users' exceptions may raise
        text = f"{class_path(type(error))} (its traceback cannot be shown)\n"
    if len(text) > LONGEST_TRACEBACK:
        text = f"{text[:KEPT_HEAD]}\n…\n{text[KEPT_HEAD + 3 - LONGEST_TRACEBACK :]}"
    return clean(text)
