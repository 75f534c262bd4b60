"""What the browser tests do and look at, in the words of the board."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Locator, Page, expect

WORD = re.compile(r"\bw(\d+) ")


def prompt(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Prompt")


def start_button(page: Page) -> Locator:
    return page.get_by_role("button", name="Start")


def stop_button(page: Page) -> Locator:
    return page.get_by_role("button", name="Stop")


def output(page: Page) -> Locator:
    return page.get_by_role("region", name="Output")


def task_list(page: Page) -> Locator:
    return page.get_by_role("list", name="Tasks")


@contextmanager
def starting(page: Page) -> Iterator[None]:
    """Start a task in the block; wait until the output is its own, not that of the one before."""
    with page.expect_response(lambda response: response.url.endswith("/completions")) as waiting:
        yield
    if waiting.value.ok:
        expect(page).to_have_url(re.compile(waiting.value.json()["id"]))


def start(page: Page, order: str) -> None:
    prompt(page).fill(order)
    with starting(page):
        start_button(page).click()


def stop(page: Page) -> None:
    stop_button(page).click()
    expect_state(page, "canceled")


def expect_state(page: Page, state: str) -> None:
    expect(page.locator("#output-word")).to_have_text(state)


def words(page: Page) -> list[int]:
    """Return the numbers of the words that the output shows, in its order."""
    return [int(number) for number in WORD.findall(page.locator("#output-text").inner_text() + " ")]


def expect_words(page: Page, at_least: int) -> None:
    expect(output(page)).to_contain_text(f"w{at_least - 1} ")
    expect_once_in_order(page)


def expect_once_in_order(page: Page) -> None:
    shown = words(page)
    assert shown == list(range(len(shown)))
