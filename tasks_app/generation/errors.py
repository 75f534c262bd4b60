"""What generation refuses or reports; every message is safe to show to the user who asked."""

from __future__ import annotations

from collections.abc import Mapping

from tasks_app.errors import TasksError


class GenerationError(TasksError):
    """The request for generated text cannot be served."""

    error_type = "generation_error"
    permanent = True


class InvalidRequest(GenerationError):
    """The request's body has the wrong shape: `errors` says what is wrong with which field."""

    error_type = "invalid_request"

    def __init__(self, message: str, field: str = "") -> None:
        self.errors = {field: message}
        super().__init__(message)


class InvalidOptions(InvalidRequest):
    """Fields of the task configuration are unknown or refused: `errors` says why, by name."""

    error_type = "invalid_options"

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(f"{name}: {why}" for name, why in errors.items()))
        self.errors = dict(errors)


class KindDisabled(GenerationError):
    """This kind of task is turned off; an administrator can turn it on."""

    error_type = "kind_disabled"


class InputTooLong(GenerationError):
    """The text is longer than this installation allows."""

    error_type = "input_too_long"


class Refused(GenerationError):
    """A filter refuses the request or its answer; the message tells the user why."""

    error_type = "refused"


class FilterFailed(GenerationError):
    """A filter of this installation failed; its operator finds the cause in the log."""

    error_type = "filter_failed"


class UnknownModel(GenerationError):
    """No provider offers the model that was asked for."""

    error_type = "model_not_found"

    def __init__(self, model_id: str, known: list[str], note: str = "") -> None:
        self.model_id = model_id
        self.known = known
        self.note = note
        super().__init__(_unknown_model(model_id, known, note))


class KindForbidden(GenerationError):
    """You may not use this kind of generation: it is left to groups that you are not in."""

    error_type = "kind_forbidden"


class LimitReached(GenerationError):
    """You have used what one user may in a minute; `retry_after` seconds from now there is more."""

    error_type = "limit_reached"
    permanent = False

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderError(GenerationError):
    """An AI provider failed: `status` is its HTTP status, where it answered at all.

    `permanent` says that trying again is pointless, `retry_after` how long it asks to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        permanent: bool = False,
        retry_after: float | None = None,
        error_type: str = "provider_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.permanent = permanent
        self.retry_after = retry_after
        self.error_type = error_type


_SHOWN_MODELS = 20


def _unknown_model(model_id: str, known: list[str], note: str) -> str:
    shown = ", ".join(known[:_SHOWN_MODELS]) or "none"
    more = len(known) - _SHOWN_MODELS
    parts = [
        f"There is no model {model_id[:200]!r}.",
        f"Known models: {shown}{f' and {more} more' if more > 0 else ''}.",
        note,
    ]
    return " ".join(part for part in parts if part)
