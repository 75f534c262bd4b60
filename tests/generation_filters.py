"""Filters as a project writes them, for the tests."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from tasks_app.generation.filters import Call, Refused, inlet, outlet, stream

SEEN: list[tuple[str, str, str]] = []


@inlet()
def add_system_prompt(request: dict[str, Any], call: Call) -> dict[str, Any]:
    SEEN.append(("inlet", call.kind, call.user_id))
    system = {"role": "system", "content": f"Kind: {call.kind}"}
    return {**request, "messages": [system, *request["messages"]]}


@inlet("title")
async def only_titles(request: dict[str, Any], call: Call) -> None:
    await asyncio.sleep(0)
    request["seed"] = 7


@inlet("chat", "title")
def no_secrets(request: dict[str, Any], call: Call) -> None:
    if "secret" in str(request["messages"]):
        raise Refused("Secrets are not sent to a model.")


@stream()
def shout(text: str, call: Call) -> str:
    call.state["pieces"] = call.state.get("pieces", 0) + 1
    return text.upper()


@outlet()
async def no_numbers(text: str, call: Call) -> str:
    return re.sub(r"\d", "#", text)


@outlet()
def refuse_answers(text: str, call: Call) -> None:
    raise Refused("This answer is kept back.")


class Redact:
    """Replaces names on the way out, and puts them back on the way in."""

    kinds = frozenset({"chat"})

    def inlet(self, request: dict[str, Any], call: Call) -> dict[str, Any]:
        call.state["name"] = "Ada"
        messages = [
            {**message, "content": message["content"].replace("Ada", "[name]")}
            for message in request["messages"]
        ]
        return {**request, "messages": messages}

    def outlet(self, text: str, call: Call) -> str:
        return text.replace("[name]", call.state["name"])


class Pseudonyms:
    """Puts a name back also where the pieces of the text cut its stand-in."""

    kinds = frozenset({"chat"})

    def stream(self, text: str, call: Call) -> str:
        text = call.state.pop("held", "") + text
        cut = text.rfind("[")
        if cut >= 0 and "]" not in text[cut:] and not call.is_over:
            text, call.state["held"] = text[:cut], text[cut:]
        return text.replace("[the customer]", "Ms Byron")


@inlet()
def broken(request: dict[str, Any], call: Call) -> None:
    raise KeyError("the operator's business")


@outlet()
def wrong_type(text: str, call: Call) -> int:
    return 7


@inlet()
async def endless(request: dict[str, Any], call: Call) -> None:
    await asyncio.Event().wait()


def unmarked(request: dict[str, Any], call: Call) -> None: ...


class NeedsArguments:
    def __init__(self, name: str) -> None: ...

    def inlet(self, request: dict[str, Any], call: Call) -> None: ...


class OneKind:
    kinds = "title"

    def inlet(self, request: dict[str, Any], call: Call) -> None: ...


@inlet()
def other_model(request: dict[str, Any], call: Call) -> dict[str, Any]:
    return {**request, "model": "fake-usage"}


@inlet()
def no_match(request: dict[str, Any], call: Call) -> dict[str, Any]:
    return next(message for message in request["messages"] if message["role"] == "critic")


@inlet()
async def leaves_the_program(request: dict[str, Any], call: Call) -> None:
    raise SystemExit("the operator's business")


@inlet()
async def cancels_itself(request: dict[str, Any], call: Call) -> None:
    raise asyncio.CancelledError("the operator's business")


@inlet()
def no_json(request: dict[str, Any], call: Call) -> dict[str, Any]:
    return {**request, "seed": {"the operator's business"}}


@inlet()
def no_messages(request: dict[str, Any], call: Call) -> dict[str, Any]:
    return {**request, "messages": "Hello"}


@outlet()
def half_a_pair(text: str, call: Call) -> str:
    return "a \ud800 b"
