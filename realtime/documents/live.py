"""A document's text in memory: pycrdt's Doc, what it has, and what it cannot place yet.

An update whose predecessors are missing changes nothing that can be seen, and pycrdt leaves it out
of what it gives back. Here it is kept beside the document until its predecessors come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pycrdt import Assoc, Doc, StickyIndex, Text, get_update, merge_updates

from realtime.documents.differences import Splice
from realtime.documents.protocol import EMPTY_UPDATE
from realtime.documents.schema import ROOT, clocks, deleted, has_blocks

MERGED_AT_ONCE: Final = 100  # merging costs more per update the more there are
MOST_TRIES: Final = 1000  # to place what waits; each but the last places something
SEED_CLIENT: Final = 1  # whoever makes a document from its text makes the same one


class ApplyFailed(Exception):
    """The update passed the checks, and yet it cannot be applied: the document is spoilt."""


def merged(updates: Sequence[bytes]) -> bytes:
    """Merge updates into one, those included whose predecessors are missing.

    Raises ApplyFailed.
    """
    parts = list(updates)
    while len(parts) > 1:
        groups = [parts[n : n + MERGED_AT_ONCE] for n in range(0, len(parts), MERGED_AT_ONCE)]
        parts = [_guarded(merge_updates, *group) for group in groups]
    return parts[0] if parts else EMPTY_UPDATE


def seed(content: str) -> bytes:
    """Return the update that makes a document of a text; the same bytes wherever it is made."""
    if not content:
        return EMPTY_UPDATE
    doc: Doc[Any] = Doc(client_id=SEED_CLIENT)
    doc.get(ROOT, type=Text).insert(0, content)
    return doc.get_update()


def _guarded(function: Any, *args: Any) -> Any:
    """Call into pycrdt; raises ApplyFailed for its errors and for its panics.

    A panic of Rust code arrives as an exception that is no Exception.
    """
    try:
        return function(*args)
    except Exception as error:
        raise ApplyFailed(str(error)) from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise ApplyFailed("pycrdt panicked") from error
        raise


class LiveText:
    """One document; after ApplyFailed it must not be used any more."""

    def __init__(self, updates: Iterable[bytes] = ()) -> None:
        self._doc: Doc[Any] = Doc()
        self._text = self._doc.get(ROOT, type=Text)
        self._event: Any = None
        # Kept, or pycrdt would end it.
        self._subscription = self._doc.observe(self._observed)
        self._pending = EMPTY_UPDATE
        self._bytes = 0  # an upper bound of the state's size
        known = [update for update in updates if update != EMPTY_UPDATE]
        if known:
            self.apply(merged(known))

    def _observed(self, event: Any) -> None:
        self._event = event.update if self._event is _WANTED else _SEEN

    # --- changing --------------------------------------------------------------------------------

    def apply(self, update: bytes) -> bool:
        """Apply an update; answer whether there was anything new in it. Raises ApplyFailed."""
        self._event = None
        _guarded(self._doc.apply_update, update)
        self._bytes += len(update)
        before = self._pending
        if before != EMPTY_UPDATE or self._rest(update) != EMPTY_UPDATE:
            self._pending = self._settled(merged([before, update]))
        return self._event is not None or self._pending not in (before, EMPTY_UPDATE)

    def _settled(self, waiting: bytes) -> bytes:
        """Place what can be placed by now; return the rest.

        pycrdt's own memory of what waits forgets some of it (of 20 shuffled updates in one case
        out of five): so it is given everything again, until that changes nothing.
        """
        rest = self._rest(waiting)
        for _ in range(MOST_TRIES):
            if rest == EMPTY_UPDATE:
                break
            state = self.state
            _guarded(self._doc.apply_update, rest)
            waiting, rest = rest, self._rest(rest)
            if rest == waiting and self.state == state:
                break
        return rest

    def _rest(self, update: bytes) -> bytes:
        """Return the part of an applied update that could not be placed."""
        state = self._doc.get_state()
        rest: bytes = _guarded(get_update, update, state)
        if rest == EMPTY_UPDATE or has_blocks(rest):
            return rest
        known = clocks(state)
        for client, ranges in deleted(rest).items():
            if any(beyond > known.get(client, 0) for _, beyond in ranges):
                return rest
        return EMPTY_UPDATE

    def replace(self, splices: Iterable[Splice]) -> bytes:
        """Make replacements, last first, as one change; return its update (may be empty)."""
        self._event = _WANTED
        with self._doc.transaction():
            for splice in splices:
                first, beyond = self._index(splice.first), self._index(splice.beyond)
                if beyond > first:
                    del self._text[first:beyond]
                if splice.text:
                    self._text.insert(first, splice.text)
        update = EMPTY_UPDATE if self._event is _WANTED else bytes(self._event)
        self._event = None
        self._bytes += len(update)
        return update

    def insert(self, index: int, text: str) -> bytes:
        """Insert at an index as `Anchor.index` gives it; return the update."""
        self._event = _WANTED
        self._text.insert(index, text)
        update = bytes(self._event)
        self._event = None
        self._bytes += len(update)
        return update

    def _index(self, position: int) -> int:
        """Turn a position in Python's text into pycrdt's: in bytes, where an embed is one."""
        text = str(self._text)
        if len(self._text) == len(text.encode()):
            return len(text[:position].encode())
        index = 0
        for chunk, _ in self._text.diff():
            if not isinstance(chunk, str):
                index += 1
            elif position <= len(chunk):
                return index + len(chunk[:position].encode())
            else:
                position -= len(chunk)
                index += len(chunk.encode())
        return index

    # --- reading ---------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        return str(self._text)

    @property
    def end(self) -> int:
        """The index behind the last character."""
        return len(self._text)

    @property
    def is_waiting(self) -> bool:
        """Whether there are updates whose predecessors are missing."""
        return self._pending != EMPTY_UPDATE

    @property
    def state(self) -> bytes:
        """The state vector: what the document has of each client."""
        return self._doc.get_state()

    def missing(self, state: bytes = b"\0") -> bytes:
        """Return what a document with that state vector lacks, waiting updates included."""
        update: bytes = _guarded(self._doc.get_update, state)
        return merged([update, self._pending]) if self.is_waiting else update

    @property
    def largest_size(self) -> int:
        """How large, in bytes, the state can be at most; see `size`."""
        return self._bytes

    def size(self) -> int:
        """Measure the state, which takes time that grows with it."""
        self._bytes = len(self.missing())
        return self._bytes

    def size_with(self, update: bytes) -> int:
        """Measure the state as it would be with the update. Raises ApplyFailed."""
        return LiveText([self.missing(), update]).size()

    def anchor(self, index: int) -> Anchor:
        return Anchor(self._text, index)


class Anchor:
    """A place in the text that stays behind the same character, whatever others write."""

    def __init__(self, text: Text, index: int) -> None:
        self._text = text
        self._sticky = StickyIndex.new(text, index, Assoc.BEFORE) if index else None

    @property
    def index(self) -> int:
        if self._sticky is None:
            return 0
        try:
            index: int = _guarded(self._sticky.get_index)
        except ApplyFailed:  # the character is gone without a trace
            return len(self._text)
        return min(index, len(self._text))

    def position(self) -> dict[str, Any]:
        """Return the place as Yjs' relative positions are written, in JSON values."""
        if self._sticky is None:
            return {"type": None, "tname": ROOT, "item": None, "assoc": -1}
        return {"type": None, "tname": None, **self._sticky.to_json()}


_WANTED = object()
_SEEN = object()
