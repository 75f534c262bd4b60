"""The board for everybody: by keyboard, on a phone, in both themes, and when the line is cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e import actions
from tests.e2e.conftest import OpenPage, expect_live
from tests.support.stack import Stack

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
SIGNALS = ("running", "waiting", "failed", "ended", "canceled")
LEASE_MS = 60_000  # a dead worker's lease runs for 15 s
PHONE = {"width": 390, "height": 844}


def press_until_focused(page: Page, key: str, selector: str) -> None:
    for _ in range(30):
        if page.evaluate("selector => document.activeElement?.matches(selector)", selector):
            return
        page.keyboard.press(key)
    pytest.fail(f"{key} never reaches {selector}")


def test_everything_can_be_done_with_the_keyboard(board: OpenPage) -> None:
    page = board()

    press_until_focused(page, "Tab", "#prompt")
    page.keyboard.type("fake-2000-tokens-30-ms")
    with actions.starting(page):
        page.keyboard.press("Control+Enter")
    actions.expect_words(page, 5)
    press_until_focused(page, "Tab", "#stop")
    page.keyboard.press("Enter")
    actions.expect_state(page, "canceled")

    press_until_focused(page, "Shift+Tab", "#start")
    with actions.starting(page):
        page.keyboard.press("Enter")
    actions.expect_state(page, "running")
    press_until_focused(page, "Tab", ".task-select")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    actions.expect_state(page, "canceled")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(actions.task_list(page).get_by_role("listitem").first).to_contain_text("canceled")


def test_on_a_phone_three_tabs_and_stop_within_reach(board: OpenPage) -> None:
    page = board(viewport=PHONE, has_touch=True)
    expect(page.get_by_role("tab")).to_have_text(["Start", "Output", "Tasks"])
    expect(actions.output(page)).to_be_hidden()

    actions.start(page, "fake-2000-tokens-30-ms")
    expect(actions.output(page)).to_be_visible()
    actions.expect_words(page, 120)
    expect(actions.stop_button(page)).to_be_in_viewport(ratio=1)
    box = actions.stop_button(page).bounding_box()
    assert box is not None
    assert box["y"] > PHONE["height"] * 2 / 3
    assert box["height"] >= 44
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

    page.get_by_role("tab", name="Tasks").tap()
    expect(actions.task_list(page).get_by_role("listitem").first).to_contain_text("running")
    page.get_by_role("tab", name="Output").tap()
    actions.stop_button(page).tap()
    actions.expect_state(page, "canceled")


def test_the_text_follows_its_end_unless_the_reader_went_up(board: OpenPage) -> None:
    page = board(viewport={"width": 1000, "height": 480})
    from_end = (
        "() => { const box = document.querySelector('#output-scroll');"
        " return box.scrollHeight - box.scrollTop - box.clientHeight }"
    )
    actions.start(page, "fake-2000-tokens-30-ms")
    actions.expect_words(page, 250)
    assert page.evaluate(from_end) < 40

    page.locator("#output-scroll").hover()
    page.mouse.wheel(0, -400)
    follow = page.get_by_role("button", name="Follow the text")
    expect(follow).to_be_visible()
    actions.expect_words(page, 300)
    assert page.evaluate(from_end) > 40

    follow.click()
    expect(follow).to_be_hidden()
    assert page.evaluate(from_end) < 40
    actions.stop(page)


def test_a_killed_web_process_is_said_and_nothing_is_lost(board: OpenPage, stack: Stack) -> None:
    page = board()
    actions.start(page, "fake-300-tokens-30-ms")
    actions.expect_words(page, 10)

    stack.kill("web-1")
    expect(page.locator("#connection")).to_contain_text("Reconnecting in")
    stack.start_web()

    expect_live(page)
    actions.expect_state(page, "succeeded")
    actions.expect_words(page, 300)


def test_a_killed_worker_means_a_new_attempt_with_its_own_text(
    board: OpenPage, stack: Stack
) -> None:
    page = board()
    actions.start(page, "fake-200-tokens-30-ms")
    actions.expect_words(page, 10)

    stack.kill("worker-1")
    stack.start_worker()

    figures = page.locator("#output-figures")
    expect(figures).to_contain_text("attempt 2", timeout=LEASE_MS)
    actions.expect_state(page, "succeeded")
    actions.expect_words(page, 200)
    assert len(actions.words(page)) == 200


def test_who_signs_out_in_another_tab_is_led_to_the_sign_in(board: OpenPage) -> None:
    page = board()
    other = page.context.new_page()
    other.goto("/")
    other.get_by_role("button", name="Sign out").click()
    expect(other.get_by_role("button", name="Sign in")).to_be_visible()

    actions.start(page, "fake-10-tokens-30-ms")
    expect(page.get_by_role("alert")).to_contain_text("You are signed out")
    page.get_by_role("link", name="Sign in again").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_who_is_signed_out_while_the_server_is_away_learns_it(
    board: OpenPage, stack: Stack
) -> None:
    page = board()
    page.context.clear_cookies()

    stack.kill("web-1")
    stack.start_web()

    link = page.get_by_role("link", name="Sign in again")
    expect(link).to_be_visible()
    link.click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(board: OpenPage, scheme: str) -> None:
    # Without motion: in the middle of a transition a colour is neither of its two.
    page = board(color_scheme=scheme, reduced_motion="reduce")
    actions.start(page, "fake-403")
    actions.expect_state(page, "failed")
    actions.start(page, "fake-2000-tokens-30-ms")
    actions.expect_words(page, 5)
    page.get_by_text("Options").click()

    weak = page.evaluate(CONTRAST)
    for signal in SIGNALS:
        page.evaluate("signal => document.querySelector('#output').dataset.signal = signal", signal)
        weak += page.evaluate(CONTRAST)
    actions.stop(page)
    page.goto("/accounts/login/")
    weak += page.evaluate(CONTRAST)

    assert not weak


def test_the_theme_can_be_switched_and_stays(board: OpenPage) -> None:
    page = board(color_scheme="light")
    background = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)

    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate(background) != light
    page.reload()
    expect(page.get_by_role("button", name="Dark theme")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(background) != light

    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate(background) == light
