"""What `call_user` reports; the docstring is the message."""

from __future__ import annotations


class CallFailed(Exception):
    """The question was not answered."""

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").strip())


class SessionNotFound(CallFailed, LookupError):
    """There is no such session, or it has ended: nobody is there to answer."""


class SessionBusy(CallFailed):
    """The session has too many unanswered questions already."""


class CallTimeout(CallFailed, TimeoutError):
    """The session did not answer in time."""
