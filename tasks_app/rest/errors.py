"""Every way in which a request can fail, as the contract's `{"detail": …}` and status."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import RawPostDataException, UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from tasks_app import errors
from tasks_app.generation import errors as generation
from tasks_app.generation import faults

log = logging.getLogger("signalbox.rest")

NO_RETRY = {"x-should-retry": "false"}  # the OpenAI clients obey it
SIGN_IN = (
    "Sign in at /accounts/login/, or send an API token as `Authorization: Bearer <token>` "
    "(`manage.py createtoken USERNAME` makes one)."
)
TOO_LARGE = "The request's body is too large: TASK_MAX_PAYLOAD_BYTES is the limit."
DATABASE_DOWN = "The database does not answer. Try again in a moment."
UNEXPECTED = "The server failed in a way that was not foreseen; its log has the details."

# How a failed task's `error.type` reads when it is the answer to a request; others are 500.
PROVIDER_TYPES = frozenset(
    {
        faults.TIMEOUT, faults.UNREACHABLE, faults.DISCONNECTED, faults.INVALID, faults.EMPTY,
        faults.REJECTED, "content_filter",
    }
)  # fmt: skip
_STATUS_OF_TYPE = {
    **dict.fromkeys(PROVIDER_TYPES, 502),
    generation.UnknownModel.error_type: 404,
    generation.InvalidRequest.error_type: 422,
    generation.KindDisabled.error_type: 400,
    generation.InputTooLong.error_type: 400,
    generation.Refused.error_type: 400,
}
_STATUS_OF_ERROR: dict[type[errors.TasksError], int] = {
    errors.StoreUnavailable: 503,
    errors.NoWorker: 503,
    errors.TaskNotFound: 404,
    errors.NotAllowed: 403,
    errors.AlreadyFinished: 409,
    errors.NotRetryable: 409,
    errors.PayloadTooLarge: 413,
    errors.InvalidTask: 422,
    generation.InvalidRequest: 422,
    generation.InvalidOptions: 422,
    generation.UnknownModel: 404,
    generation.KindDisabled: 400,
    generation.InputTooLong: 400,
    generation.Refused: 400,
    generation.FilterFailed: 500,
    generation.KindForbidden: 403,
    generation.LimitReached: 429,
    generation.ProviderError: 502,
}
RETRY_AFTER_SECONDS = {errors.StoreUnavailable: 2, errors.NoWorker: 5}


class ApiError(Exception):
    """A request's failure: the status, a sentence for people, a word for programs."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        error_type: str = "error",
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.fields = fields  # of a 422: what is wrong with which field of the body
        self.status = status
        self.detail = detail
        self.error_type = error_type
        self.headers = dict(headers or {})

    def response(self) -> HttpResponse:
        body: Any = self.detail
        if self.status == 422:  # noqa: PLR2004 HTTP's number
            named = {"": self.detail} if self.fields is None else self.fields
            body = [
                {"loc": ["body", *([name] if name else [])], "msg": why, "type": self.error_type}
                for name, why in named.items()
            ]
        return detail_response(self.status, body, self.headers)


def detail_response(
    status: int, detail: Any, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """Return `{"detail": …}` with the status."""
    content = json.dumps({"detail": detail})
    return HttpResponse(
        content, status=status, content_type="application/json", headers=dict(headers or {})
    )


def from_tasks_error(error: errors.TasksError) -> ApiError:
    """Word a refusal of the engine or of generation as an answer."""
    kind = next((cls for cls in type(error).__mro__ if cls in _STATUS_OF_ERROR), None)
    if kind is None:
        return unexpected(error)
    detail, headers = error.detail, {}
    if kind is errors.StoreUnavailable:
        log.warning("store_unavailable cause=%r", error.__cause__ or error)
    if kind in RETRY_AFTER_SECONDS:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS[kind])
    if isinstance(error, generation.ProviderError):
        headers |= NO_RETRY
        if error.retry_after:
            headers["Retry-After"] = str(int(error.retry_after) + 1)
    if isinstance(error, generation.LimitReached):
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    name = getattr(error, "error_type", kind.__name__)
    fields = error.errors if isinstance(error, generation.InvalidRequest) else None
    return ApiError(_STATUS_OF_ERROR[kind], detail, error_type=name, headers=headers, fields=fields)


def from_end(end: Mapping[str, Any]) -> ApiError:
    """Word the end of a task that did not succeed (the data of its `end` event) as an answer."""
    if end["status"] == "canceled":
        reason = end["reason"] or "user"
        why = "" if reason == "user" else f" ({reason})"
        detail = f"The task was stopped by {end['stopped_by'] or 'system'}{why}."
        return ApiError(409, detail, error_type="canceled", headers=NO_RETRY)
    error = end["error"] or {"type": end["status"], "message": f"The task is {end['status']}."}
    status = _STATUS_OF_TYPE.get(error["type"], 500)
    headers = NO_RETRY if status >= 500 else {}  # noqa: PLR2004 the task has tried already
    return ApiError(status, error["message"], error_type=error["type"], headers=headers)


def of_task(error: ApiError | errors.TasksError, task_id: str) -> ApiError:
    """Return the failure with the header that names the task which was meant to answer."""
    known = from_tasks_error(error) if isinstance(error, errors.TasksError) else error
    known.headers["X-Task-Id"] = task_id
    return known


def unexpected(error: BaseException) -> ApiError:
    """Log what nobody foresaw, with its cause, and say only that it happened."""
    log.error("request_failed", exc_info=error)
    return ApiError(500, UNEXPECTED, error_type="internal_error")


def add_handlers(api: NinjaAPI) -> None:
    """Let every operation of the API answer its failures in the contract's form."""
    handlers: dict[type[Exception], Callable[[HttpRequest, Any], HttpResponse]] = {
        Exception: lambda _, error: unexpected(error).response(),
        ApiError: lambda _, error: error.response(),
        errors.TasksError: lambda _, error: from_tasks_error(error).response(),
        AuthenticationError: _not_signed_in,
        HttpError: _http_error,
        ValidationError: _invalid,
        Http404: lambda *_: detail_response(404, "There is nothing at this address."),
        RequestDataTooBig: lambda *_: detail_response(413, TOO_LARGE),
        SuspiciousOperation: lambda *_: detail_response(400, "The request is malformed."),
        RawPostDataException: lambda *_: detail_response(400, "Send JSON."),
        UnreadablePostError: lambda *_: detail_response(400, "The body ended too early."),
        OperationalError: _database_down,
        InterfaceError: _database_down,
    }
    for kind, handle in handlers.items():
        api.add_exception_handler(kind, handle)


def _not_signed_in(_request: HttpRequest, _error: AuthenticationError) -> HttpResponse:
    return detail_response(401, SIGN_IN, {"WWW-Authenticate": "Bearer"})


def _http_error(_request: HttpRequest, error: HttpError) -> HttpResponse:
    # The body's parser is called inside a net of django-ninja that words all failures alike.
    if isinstance(error.__cause__, ApiError):
        return error.__cause__.response()
    return detail_response(error.status_code, str(error))


def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    fields = [
        {"loc": _place(one["loc"]), "msg": one["msg"], "type": one["type"]} for one in error.errors
    ]
    if not request.body and any(field["loc"][0] == "body" for field in fields):
        return detail_response(400, "The request has no body: send JSON.")
    return detail_response(422, fields)


def _place(loc: tuple[Any, ...]) -> list[Any]:
    """Return where the field is for the client: the name of our own argument is no part of it."""
    source, *rest = loc
    return [source, *rest[1:]] if source == "body" else [source, *rest]


def _database_down(_request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("database_unavailable error=%s", error)
    return detail_response(503, DATABASE_DOWN, {"Retry-After": "5"})
