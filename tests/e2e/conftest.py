"""Fixtures of the browser tests: a running system, a real Chromium, a signed-in page.

The tests are plain functions and talk to processes only. The fixtures live as long as this
package runs: Playwright keeps an event loop in the main thread, which asynchronous tests elsewhere
could not bear.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.stack import PASSWORD, USER, Stack

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    # A page whose headers a test has changed counts as a foreign one that calls our loopback.
    "--disable-features=LocalNetworkAccessChecks",
]
WAIT_MS = 15_000

expect.set_options(timeout=WAIT_MS)

OpenPage = Callable[..., Page]


def find_chromium() -> str | None:
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Show beside a failure what the processes wrote."""
    report = yield
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(stack, Stack):
        report.sections.append(("logs of the processes", stack.logs()))
    return report


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        message = "No Chromium on PATH: install one, or name it in CHROMIUM."
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def stack(browser: Browser) -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="signalbox-e2e-"))
    stack = Stack(folder, provider=["--only", "fake-as-told"])
    try:
        stack.start()
        yield stack
    except BaseException:
        print(stack.logs())  # noqa: T201 pytest shows it beside the failure
        raise
    finally:
        stack.stop()
        shutil.rmtree(folder)


@pytest.fixture
def open_context(browser: Browser, stack: Stack) -> Iterator[Callable[..., BrowserContext]]:
    """Give a function that opens a browser of its own: its cookies and its window size."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_one(**options: Any) -> BrowserContext:
        options = {"viewport": {"width": 1440, "height": 900}, "base_url": stack.url} | options
        context = browser.new_context(**options)
        context.set_default_timeout(WAIT_MS)
        context.on("weberror", lambda fault: errors.append(str(fault.error)))
        contexts.append(context)
        return context

    yield open_one
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture
def board(open_context: Callable[..., BrowserContext]) -> OpenPage:
    """Give a function that signs in and returns the live board."""

    def open_board(**options: Any) -> Page:
        page = open_context(**options).new_page()
        sign_in(page)
        expect_live(page)
        return page

    return open_board


def sign_in(page: Page, password: str = PASSWORD) -> None:
    page.goto("/")
    page.get_by_label("User name").fill(USER)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def expect_live(page: Page) -> None:
    expect(page.locator("#connection")).to_contain_text("Live")
    expect(page.get_by_label("Model")).to_be_enabled()
