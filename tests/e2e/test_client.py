"""The JavaScript client in a real browser: rooms, questions, stalls, beyond what the board uses."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import OpenPage, expect_live
from tests.support.eventually import eventually_sync
from tests.support.stack import PASSWORD, Stack

OPEN = """async () => {
  const { SignalboxSocket } = await import("/static/realtime/socket.js");
  const seen = { states: [], events: [], counts: [], gone: [], notes: [] };
  const socket = new SignalboxSocket("/ws/", (state) => seen.states.push(state.kind));
  socket.on("notification", (note) => seen.notes.push(note));
  socket.answer("add", ({ a, b }) => a + b);
  socket.answer("slowly", async (data) => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return { was: data };
  });
  const enter = (name) => socket.join(name, {
    event: (event) => seen.events.push([event.from.name, event.event, event.data]),
    presence: (presence) => seen.counts.push(presence.count),
    gone: (error) => seen.gone.push(error.code),
  });
  window.own = { socket, seen, enter, room: enter("public:e2e") };
  socket.open();
}"""


def look(page: Page, what: str) -> Any:
    return page.evaluate(f"window.own.{what}")


def shows(page: Page, what: str, wanted: Callable[[Any], Any], within: float = 15.0) -> None:
    eventually_sync(lambda: wanted(look(page, what)), within=within, every=0.05)


def open_client(page: Page) -> None:
    page.evaluate(OPEN)
    shows(page, "seen.counts", lambda counts: counts)


def ask(stack: Stack, page: Page, kind: str, data: Any) -> Any:
    """Ask the page's session something from another process; return its answer."""
    session = page.evaluate("window.own.socket.request('user-join')")["session_id"]
    code = (
        "import asyncio, json\nfrom realtime import call_user\n"
        f"print(json.dumps(asyncio.run(call_user({session!r}, {kind!r}, {data!r}))))"
    )
    return json.loads(stack.manage("shell", "--no-imports", "-c", code).splitlines()[-1])


def test_events_pass_between_browsers_and_the_room_is_joined_again(
    board: OpenPage, stack: Stack
) -> None:
    first, second = board(), board()
    for page in (first, second):
        open_client(page)

    assert first.evaluate("window.own.room.send('typing', {text: 'größer'})")
    for page in (first, second):
        shows(
            page,
            "seen.events",
            lambda events: events == [["signaller", "typing", {"text": "größer"}]],
        )

    stack.kill("web-1")
    shows(second, "seen.states", lambda states: states[-1] == "waiting")
    assert not second.evaluate("window.own.room.send('typing')")
    stack.start_web()
    for page in (first, second):
        shows(page, "seen.states", lambda states: states[-1] == "live", within=40.0)

    def both_are_there() -> bool:
        first.evaluate("window.own.room.send('again')")
        return any(event[1] == "again" for event in look(second, "seen.events"))

    eventually_sync(both_are_there, within=15.0, every=0.2)
    second.evaluate("window.own.room.leave()")
    assert not second.evaluate("window.own.room.send('typing')")
    assert look(second, "seen.gone") == []


def test_a_room_that_lets_nobody_in_says_so(board: OpenPage) -> None:
    page = board()
    open_client(page)

    page.evaluate("void window.own.enter('private:e2e')")

    shows(page, "seen.gone", lambda gone: gone == ["forbidden"])
    assert look(page, "socket.state")["kind"] == "live"


def test_the_page_answers_what_another_process_asks(board: OpenPage, stack: Stack) -> None:
    page = board()
    open_client(page)

    assert ask(stack, page, "add", {"a": 20, "b": 22}) == 42
    assert ask(stack, page, "slowly", ["größer"]) == {"was": ["größer"]}


def test_a_stalled_server_is_noticed_and_left(board: OpenPage, stack: Stack) -> None:
    page = board()
    open_client(page)
    web = stack.processes["web-1"]

    web.send_signal(signal.SIGSTOP)
    try:
        page.evaluate("window.own.socket.probe()")
        shows(page, "seen.states", lambda states: states[-1] in {"waiting", "connecting"})
    finally:
        web.send_signal(signal.SIGCONT)
    shows(page, "seen.states", lambda states: states[-1] == "live", within=40.0)


def test_the_board_shows_who_is_there(
    board: OpenPage, open_context: Callable[..., BrowserContext], stack: Stack
) -> None:
    stack.manage(
        "shell", "--no-imports", "-c",
        "from django.contrib.auth.models import User\n"
        f"User.objects.create_user('fireman', password={PASSWORD!r})",
    )  # fmt: skip
    page = board()
    expect(page.locator("#here")).to_have_text("Here: only you")

    other = open_context().new_page()
    other.goto("/")
    other.get_by_label("User name").fill("fireman")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Sign in").click()
    expect_live(other)
    expect(other.locator("#here")).to_have_text("Here: you, signaller")
    expect(page.locator("#here")).to_have_text("Here: you, fireman")

    other.context.close()
    expect(page.locator("#here")).to_have_text("Here: only you")
