"""What the realtime layer refuses and reports; the docstring is the default message."""

from __future__ import annotations


class RealtimeError(Exception):
    """The realtime layer refused the request."""

    permanent = True  # whether the same request would be refused again

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class DocumentNotFound(RealtimeError):
    """There is no such document, or you may not see it."""


class DocumentForbidden(RealtimeError):
    """You may see this document but not do that with it; its owner can give you more rights."""


class DocumentExists(RealtimeError):
    """There is a document with this id already; choose another, or leave the id out."""


class DocumentChanged(RealtimeError):
    """The document was changed since that version: read it again, then try again."""


class DocumentTooLarge(RealtimeError):
    """The document would become larger than DOCUMENT_MAX_BYTES."""


class DocumentUnavailable(RealtimeError):
    """The document cannot be read or written now. Try again in a moment."""

    permanent = False


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
