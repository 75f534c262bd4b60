"""What a socket lets in: size, rate and shape of each frame, before anything acts on it."""

from __future__ import annotations

from realtime.domain import close_codes, limits, messages
from realtime.domain.messages import FrameError
from realtime.scope import Message

SMALL = 4096  # characters; who sends too much is not given the work of parsing large frames


class Gate:
    """Reads one socket's frames and counts them."""

    def __init__(self, now: float) -> None:
        self._bucket = limits.FrameBucket(now)

    def read(self, message: Message, now: float, *, is_signed_in: bool) -> messages.Incoming:
        """Return what a frame asks for; raises FrameError, which may demand a close."""
        text: str | None = message.get("text")
        size_limit = (
            limits.MAX_FRAME_BYTES if is_signed_in else limits.MAX_FRAME_BYTES_BEFORE_SIGN_IN
        )
        if limits.exceeds(text if text is not None else message["bytes"], size_limit):
            raise FrameError(
                "bad_frame",
                f"A frame has at most {size_limit} bytes.",
                close_code=close_codes.TOO_LARGE,
            )
        if not self._bucket.take(now):
            raise self._rate_limited(text)
        if text is None:
            raise FrameError("bad_frame", "A frame is JSON text, not binary.")
        return messages.parse(text, is_signed_in=is_signed_in)

    def _rate_limited(self, text: str | None) -> FrameError:
        return FrameError(
            "rate_limited",
            f"At most {limits.FRAMES_PER_SECOND:.0f} frames a second: wait, then go on slower.",
            ack=messages.ack_of(text) if text is not None and len(text) < SMALL else None,
            close_code=close_codes.TOO_MANY_MESSAGES if self._bucket.is_hopeless else None,
        )
