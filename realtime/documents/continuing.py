"""The task "continue this document": a model's words arrive in the open editors as it says them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from realtime.documents.writing import Writer, writing
from tasks_app import TaskContext, api, task

CONTEXT_CHARACTERS: Final = 8000  # of the document's end, which the model is shown
SIGN_OF_LIFE_SECONDS: Final = 10.0
MOST_WAITING: Final = 10_000  # pieces; the document is slower than the model
PROMPT: Final = (
    "Continue the following document in its language and style. Answer with the continuation "
    "alone, without repeating what is there."
)
EMPTY: Final = "(The document is still empty: begin it.)"


class _Tee:
    """The task's context, with its tokens going into the document too."""

    def __init__(self, context: TaskContext, pieces: asyncio.Queue[str | None]) -> None:
        self._context = context
        self._pieces = pieces

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def token(self, text: str) -> None:
        self._context.token(text)
        self._pieces.put_nowait(text)


@task(takes_context=True, timeout=600.0)
async def continue_document(
    context: TaskContext, document_id: str, *, model: str, prompt: str = ""
) -> dict[str, Any]:
    """Write on at a document's end, in the name of the user who asked, with a cursor of its own.

    People may go on writing meanwhile. Stopped, it stays with what was written. Answers how many
    characters that were. Each piece is refused once the user may not write any more.
    """
    pieces: asyncio.Queue[str | None] = asyncio.Queue(MOST_WAITING)
    # A task without an owner was enqueued by our own code.
    async with writing(
        document_id, name=f"AI ({model})", user_id=context.user_id or None
    ) as writer:
        body = _request(model, prompt, writer.text)
        typing = asyncio.create_task(_type(writer, pieces), name="signalbox-continue")
        asking = asyncio.create_task(_ask(context, body, pieces), name="signalbox-continue-ask")
        try:
            # Either may fail: the model, or the document.
            await asyncio.wait([typing, asking], return_when=asyncio.FIRST_EXCEPTION)
            if asking.done() and asking.exception() is not None:
                asking.result()
            return {"characters": await typing}
        finally:
            await api.end_owned(asking)
            await api.end_owned(typing)


def _request(model: str, prompt: str, text: str) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [
            {"role": "system", "content": prompt or PROMPT},
            {"role": "user", "content": text[-CONTEXT_CHARACTERS:] or EMPTY},
        ],
    }


async def _ask(
    context: TaskContext, body: dict[str, Any], pieces: asyncio.Queue[str | None]
) -> None:
    try:
        await api.ask_model(_Tee(context, pieces), body)
    finally:
        await pieces.put(None)


async def _type(writer: Writer, pieces: asyncio.Queue[str | None]) -> int:
    """Write what arrives, all that is there in one change; say from time to time that we live."""
    written = 0
    piece: str | None = ""
    while piece is not None:
        try:
            async with asyncio.timeout(SIGN_OF_LIFE_SECONDS):
                piece = await pieces.get()
        except TimeoutError:
            await writer.show()
            continue
        text = piece or ""
        while piece is not None and not pieces.empty():
            piece = pieces.get_nowait()
            text += piece or ""
        if text:
            await writer.write(text)
            written += len(text)
    return written
