"""Documents over HTTP: list, make, read, change, delete; who may open them; their versions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import Query, Router
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from realtime.documents import changing, rows
from realtime.documents.continuing import continue_document
from realtime.documents.database import in_database
from realtime.documents.reading import live_text
from realtime.documents.rows import Shown
from realtime.domain.permissions import Permission
from realtime.errors import (
    DocumentChanged,
    DocumentExists,
    DocumentForbidden,
    DocumentNotFound,
    DocumentTooLarge,
    DocumentUnavailable,
    RealtimeError,
)
from realtime.models import DocumentVersion
from tasks_app import api
from tasks_app.rest.extend import ERRORS, ApiError, TaskResource, Writable, caller_of

router = Router(tags=["documents"])

UNAVAILABLE = 503
STATUS: dict[type[RealtimeError], int] = {
    DocumentNotFound: 404,
    DocumentForbidden: 403,
    DocumentExists: 409,
    DocumentChanged: 409,
    DocumentTooLarge: 413,
    DocumentUnavailable: UNAVAILABLE,
}
LARGEST_VERSION = 2**31 - 1
NO_USER = "There is no user of that name."
NO_VERSION = "There is no such version, or it is not kept any more."


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("A text cannot hold the character NUL.")
    return text


Text = Annotated[Writable, AfterValidator(_without_nul)]
Title = Annotated[Text, Field(max_length=200)]
DocumentId = Annotated[str, Field(pattern=r"\A[A-Za-z0-9_-]{1,64}\z")]


def _not_reserved(document_id: str) -> str:
    if document_id == "config":
        raise ValueError("This id is reserved.")
    return document_id


class NewDocument(BaseModel):
    """A document to be made; without an id it is given one."""

    model_config = ConfigDict(strict=True)

    id: Annotated[DocumentId, AfterValidator(_not_reserved)] | None = None
    title: Title = ""
    content: Text = ""


class DocumentQuery(BaseModel):
    cursor: Annotated[str | None, Field(pattern=r"\A[0-9]{1,18}-[A-Za-z0-9_-]{1,64}\z")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class DocumentChange(BaseModel):
    """What is to be changed; with `version` only if that is still the document's."""

    model_config = ConfigDict(strict=True)

    title: Title | None = None
    content: Text | None = None
    version: Annotated[int, Field(ge=1)] | None = None


class Continuation(BaseModel):
    """Who is to write on; without a model the first one that there is."""

    model_config = ConfigDict(strict=True)

    model: Annotated[Writable, Field(min_length=1, max_length=500)] | None = None
    prompt: Annotated[Writable, Field(max_length=4000)] = ""


class Grant(BaseModel):
    model_config = ConfigDict(strict=True)

    permission: Annotated[str, Field(pattern=r"\A(read|write)\z")]


class ListedDocument(BaseModel):
    id: str
    title: str
    version: int
    updated_at: datetime
    permission: Permission


class DocumentResource(ListedDocument):
    """A document: `content` is the live text, `version` the last one saved."""

    content: str


class DocumentList(BaseModel):
    documents: list[ListedDocument]
    next_cursor: str | None


class Granted(BaseModel):
    username: str
    permission: str


class AccessList(BaseModel):
    access: list[Granted]


class Version(BaseModel):
    version: int
    created_at: datetime


class VersionList(BaseModel):
    versions: list[Version]


class VersionResource(Version):
    content: str


@router.get("/v1/documents", response={200: DocumentList, **ERRORS})
async def list_documents(request: HttpRequest, query: Query[DocumentQuery]) -> JsonResponse:
    """List the documents that you may open, newest first, without their texts."""
    page = await in_database(rows.listed, caller_of(request).viewer, query.cursor, query.limit)
    shown = [_resource(one) for one in page.documents]
    return JsonResponse({"documents": shown, "next_cursor": page.next_cursor})


@router.post("/v1/documents", response={201: DocumentResource, **ERRORS})
async def create_document(request: HttpRequest, body: NewDocument) -> JsonResponse:
    """Make a document of yours."""
    with _refusals():
        made = await in_database(
            rows.create,
            caller_of(request).user,
            document_id=body.id,
            title=body.title,
            content=body.content,
        )
    headers = {"Location": f"/api/v1/documents/{made.id}"}
    return JsonResponse(_resource(made), status=201, headers=headers)


@router.get("/v1/documents/{document_id}", response={200: DocumentResource, **ERRORS})
async def show_document(request: HttpRequest, document_id: str) -> JsonResponse:
    """Show a document with its live text."""
    return JsonResponse(await _live(request, document_id))


@router.patch("/v1/documents/{document_id}", response={200: DocumentResource, **ERRORS})
async def change_document(
    request: HttpRequest, document_id: str, body: DocumentChange
) -> JsonResponse:
    """Change title or text; the text's difference is laid into the live document, then saved.

    With `version` in the body it is refused (409) when the document was changed since.
    """
    await _found(request, document_id, Permission.WRITE, Permission.OWNER)
    with _refusals():
        if body.version is not None or body.content is not None:
            await changing.change(document_id, body.content, version=body.version)
        if body.title is not None:
            await in_database(rows.rename, document_id, body.title)
    return JsonResponse(await _live(request, document_id))


@router.delete("/v1/documents/{document_id}", response={204: None, **ERRORS})
async def delete_document(request: HttpRequest, document_id: str) -> HttpResponse:
    """Delete a document; its open editors are closed."""
    await _found(request, document_id, Permission.OWNER)
    await in_database(rows.delete, document_id)
    return HttpResponse(status=204)


@router.post("/v1/documents/{document_id}/continue", response={202: TaskResource, **ERRORS})
async def continue_it(request: HttpRequest, document_id: str, body: Continuation) -> JsonResponse:
    """Let a model write on at the document's end: a task, to be watched and stopped like any."""
    await _found(request, document_id, Permission.WRITE, Permission.OWNER)
    viewer = caller_of(request).viewer
    model = body.model or next((one.id for one in await api.visible_models(viewer.user_id)), "")
    admitted = await api.admit(viewer, "chat", model)
    task = await api.enqueue_task(
        api.limited(continue_document, model, admitted.config),
        args=[document_id],
        kwargs={"model": model, "prompt": body.prompt},
        ask=api.Ask(item_id=document_id, user_id=viewer.user_id),
    )
    headers = {"Location": f"/api/v1/tasks/{task.id}"}
    return JsonResponse(task.resource(), status=202, headers=headers)


# --- who may open it -----------------------------------------------------------------------------


@router.get("/v1/documents/{document_id}/access", response={200: AccessList, **ERRORS})
async def list_access(request: HttpRequest, document_id: str) -> JsonResponse:
    """List whom a document is shared with; for its owner and staff."""
    await _found(request, document_id, Permission.OWNER)
    pairs = await in_database(rows.who_may, document_id)
    return JsonResponse({"access": [_granted(name, permission) for name, permission in pairs]})


@router.put("/v1/documents/{document_id}/access/{username}", response={200: Granted, **ERRORS})
async def give_access(
    request: HttpRequest, document_id: str, username: str, body: Grant
) -> JsonResponse:
    """Let a user read or write a document; for its owner and staff."""
    await _found(request, document_id, Permission.OWNER)
    permission = Permission(body.permission)
    try:
        with _refusals():
            await in_database(rows.share, document_id, username, permission)
    except LookupError as error:
        raise ApiError(404, NO_USER) from error
    return JsonResponse(_granted(username, permission))


@router.delete("/v1/documents/{document_id}/access/{username}", response={204: None, **ERRORS})
async def take_access(request: HttpRequest, document_id: str, username: str) -> HttpResponse:
    """Take a user's access back; for the owner and staff."""
    await _found(request, document_id, Permission.OWNER)
    if not await in_database(rows.unshare, document_id, username):
        raise ApiError(404, "The document is not shared with a user of that name.")
    return HttpResponse(status=204)


# --- versions ------------------------------------------------------------------------------------


@router.get("/v1/documents/{document_id}/versions", response={200: VersionList, **ERRORS})
async def list_versions(request: HttpRequest, document_id: str) -> JsonResponse:
    """List the versions of a document that are kept, newest first."""
    await _found(request, document_id)
    pairs = await in_database(rows.versions, document_id)
    shown = [{"version": number, "created_at": _iso(moment)} for number, moment in pairs]
    return JsonResponse({"versions": shown})


@router.get(
    "/v1/documents/{document_id}/versions/{version}", response={200: VersionResource, **ERRORS}
)
async def show_version(request: HttpRequest, document_id: str, version: int) -> JsonResponse:
    """Show the text of a version."""
    await _found(request, document_id)
    found = await _version(document_id, version)
    return JsonResponse(
        {
            "version": found.version,
            "created_at": _iso(found.created_at),
            "content": found.content,
        }
    )


@router.post(
    "/v1/documents/{document_id}/versions/{version}/restore",
    response={200: DocumentResource, **ERRORS},
)
async def restore_version(request: HttpRequest, document_id: str, version: int) -> JsonResponse:
    """Make a version's text the document's again: an edit like any other, and saved as one."""
    await _found(request, document_id, Permission.WRITE, Permission.OWNER)
    found = await _version(document_id, version)
    with _refusals():
        await changing.change(document_id, found.content)
    return JsonResponse(await _live(request, document_id))


# --- parts ---------------------------------------------------------------------------------------


async def _found(request: HttpRequest, document_id: str, *needed: Permission) -> Shown:
    with _refusals():
        return await in_database(rows.find, caller_of(request).viewer, document_id, *needed)


async def _live(request: HttpRequest, document_id: str) -> dict[str, Any]:
    """Return the document with the text as it is at this moment."""
    with _refusals():
        text = await live_text(document_id)
    return {**_resource(await _found(request, document_id)), "content": text}


async def _version(document_id: str, number: int) -> DocumentVersion:
    if not 0 < number <= LARGEST_VERSION:
        raise ApiError(404, NO_VERSION)
    with _refusals():
        return await in_database(rows.version, document_id, number)


@contextmanager
def _refusals() -> Iterator[None]:
    """Word what the documents refuse as answers."""
    try:
        yield
    except RealtimeError as error:
        status = STATUS[type(error)]
        headers = {"Retry-After": "2"} if status == UNAVAILABLE else {}
        raise ApiError(status, str(error), headers=headers) from error


def _resource(document: Shown) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": document.id,
        "title": document.title,
        "version": document.version,
        "updated_at": _iso(document.updated_at),
        "permission": document.permission.value,
    }
    if document.content is not None:
        shown["content"] = document.content
    return shown


def _granted(username: str, permission: Permission) -> dict[str, str]:
    return {"username": username, "permission": permission.value}


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
