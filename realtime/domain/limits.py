"""What one socket may use: sizes, rates, deadlines, and the bucket that counts its frames."""

from __future__ import annotations

from typing import Final

MAX_FRAME_BYTES: Final = 1024 * 1024
MAX_FRAME_BYTES_BEFORE_SIGN_IN: Final = 16 * 1024
MAX_SOCKETS_BEFORE_SIGN_IN: Final = 256  # per process
SIGN_IN_SECONDS: Final = 10.0

FRAMES_PER_SECOND: Final = 50.0
FRAMES_BURST: Final = 200.0

MAX_MODELS: Final = 20  # that one session uses at once
MAX_MODEL_CHARACTERS: Final = 500
# What SIGNALBOX_LIMITS may change.
CONFIGURABLE: Final = {
    "subscriptions": 100,  # per socket; each is one reader of a task's events
    "rooms": 50,  # per socket
    "sockets_per_user": 2500,  # per process: for a program that holds its users' sockets as one
}

PRESENCE_SECONDS: Final = 0.5  # who is in a room is told at most this often
PRESENCE_REFRESH_SECONDS: Final = 10.0  # a process says again who is in its rooms
ROOM_ACCESS_SECONDS: Final = 3.0  # then the project's access function has not said yes

MAX_CALLS: Final = 100  # per socket; questions that wait for its answer at once
MAX_CALL_SECONDS: Final = 3600.0

MAX_QUEUED_FRAMES: Final = 1000  # per socket, while the client does not read
MAX_QUEUED_CHARACTERS: Final = 4 * 1024 * 1024
SLOW_READER_SECONDS: Final = 5.0  # one frame may take this long to leave
SLOWEST_BYTES_PER_SECOND: Final = 128 * 1024  # a large binary frame has so much more time
CLOSE_SECONDS: Final = 3.0  # then the connection is dropped without the client's reply

USAGE_PAUSE_SECONDS: Final = 0.25  # between two looks at the models in use

RECHECK_SECONDS: Final = 15.0  # identity and rights of open sockets are looked at this often


class FrameBucket:
    """Counts frames: a burst, refilled at a steady rate; refused frames count as well.

    So a client that goes on after being refused sinks until `is_hopeless`, and one that stops
    is forgiven.
    """

    def __init__(self, now: float) -> None:
        self._level = FRAMES_BURST
        self._at = now

    def take(self, now: float) -> bool:
        """Count one frame; answer whether it may pass."""
        self._level = min(FRAMES_BURST, self._level + (now - self._at) * FRAMES_PER_SECOND) - 1.0
        self._at = now
        return self._level >= 0.0

    @property
    def is_hopeless(self) -> bool:
        return self._level < -FRAMES_BURST


def exceeds(frame: str | bytes, limit: int) -> bool:
    """Answer whether a frame has more than `limit` bytes, encoding text only where it must."""
    if len(frame) > limit:
        return True
    if isinstance(frame, bytes) or len(frame) * 4 <= limit or frame.isascii():
        return False
    return len(frame.encode()) > limit
