"""The board's main job in a real browser: start, watch, stop, from any tab, without a reload."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.e2e import actions
from tests.e2e.conftest import OpenPage, expect_live, sign_in
from tests.support.eventually import eventually_sync

LONG = "fake-2000-tokens-30-ms"
SHORT = "fake-40-tokens-30-ms"


def second_tab(page: Page) -> Page:
    tab = page.context.new_page()
    tab.goto("/")
    return tab


def test_sign_in_says_what_is_wrong_and_then_lets_in(
    open_context: Callable[..., BrowserContext],
) -> None:
    page = open_context().new_page()

    sign_in(page, password="not-it")
    expect(page.get_by_role("alert")).to_contain_text("do not fit together")

    sign_in(page)
    expect(page).to_have_url(re.compile(r"/$"))
    expect(actions.prompt(page)).to_be_visible()


def test_tokens_arrive_while_the_task_runs_and_the_end_is_shown(board: OpenPage) -> None:
    page = board()

    actions.start(page, "fake-150-tokens-30-ms")
    actions.expect_words(page, 10)
    actions.expect_state(page, "running")
    expect(actions.stop_button(page)).to_be_enabled()
    assert len(actions.words(page)) < 150

    actions.expect_state(page, "succeeded")
    actions.expect_words(page, 150)
    expect(actions.stop_button(page)).to_be_disabled()


@pytest.mark.parametrize("broken", ["%", "%E4", ""])
def test_an_address_that_cannot_be_read_leaves_the_board_usable(
    board: OpenPage, broken: str
) -> None:
    page = board()
    page.goto(f"/#task={broken}")
    page.reload()

    expect_live(page)
    actions.start(page, SHORT)
    actions.expect_words(page, 10)


def test_a_title_is_shown_as_a_title(board: OpenPage) -> None:
    page = board()
    page.get_by_role("radio", name="Title").check()

    actions.start(page, "How do I keep two trains apart on a single track?")

    actions.expect_state(page, "succeeded")
    expect(page.locator("#output-result dt")).to_have_text("title")
    expect(page.locator("#output-result dd")).to_have_text("Reise nach Rom")


def test_a_second_tab_shows_the_same_and_stops_it(board: OpenPage) -> None:
    page = board()
    actions.start(page, LONG)
    actions.expect_words(page, 5)

    other = second_tab(page)
    actions.expect_words(other, 20)
    actions.expect_words(page, 20)

    actions.stop(other)
    actions.expect_state(page, "canceled")
    expect(actions.output(page)).to_contain_text("Stopped by signaller")
    assert actions.words(page) == actions.words(other)


def test_a_task_begun_elsewhere_appears_and_can_be_stopped_from_the_list(board: OpenPage) -> None:
    page = board()
    elsewhere = second_tab(page)
    actions.start(elsewhere, LONG)
    elsewhere.wait_for_url("**/#task=*")
    task_id = elsewhere.url.split("#task=")[1]

    row = actions.task_list(page).locator(f"[data-id='{task_id}']")
    expect(row).to_contain_text("running")
    row.hover()
    row.get_by_role("button", name="Cancel").click()

    expect(row).to_contain_text("canceled")
    actions.expect_state(elsewhere, "canceled")


def test_a_reload_in_the_middle_shows_the_whole_text_once(board: OpenPage) -> None:
    page = board()
    actions.start(page, "fake-200-tokens-30-ms")
    actions.expect_words(page, 30)

    page.reload()

    actions.expect_words(page, 60)
    page.reload()
    actions.expect_state(page, "succeeded")
    actions.expect_words(page, 200)


def test_switching_between_tasks_keeps_each_text_whole(board: OpenPage) -> None:
    page = board()
    actions.start(page, LONG)
    page.wait_for_url("**/#task=*")
    actions.expect_words(page, 10)
    first = page.url
    actions.start(page, SHORT)
    actions.expect_state(page, "succeeded")
    actions.expect_words(page, 40)

    page.go_back()
    assert page.url == first
    actions.expect_words(page, 60)
    page.go_forward()
    actions.expect_state(page, "succeeded")
    actions.expect_words(page, 40)

    page.go_back()
    actions.stop(page)


def test_a_failure_shows_its_cause_first(board: OpenPage) -> None:
    page = board()

    actions.start(page, "fake-403")

    actions.expect_state(page, "failed")
    expect(page.locator("#output-error .cause")).not_to_be_empty()
    expect(page.locator("#output-error .advice")).to_contain_text("start it again")


def test_the_filter_leaves_what_fits(board: OpenPage) -> None:
    page = board()
    actions.start(page, SHORT)
    actions.expect_state(page, "succeeded")
    rows = actions.task_list(page).get_by_role("listitem")

    page.get_by_label("Filter").fill("succeeded chat")
    expect(rows.filter(has_text="succeeded").first).to_be_visible()
    expect(rows.filter(has_text="failed")).to_have_count(0)

    page.get_by_label("Filter").fill("no such task")
    expect(page.locator("#tasks-empty")).to_contain_text("No task fits the filter")


def test_the_list_does_not_move_under_the_pointer(board: OpenPage) -> None:
    page = board()
    actions.start(page, SHORT)
    actions.expect_state(page, "succeeded")
    rows = actions.task_list(page).get_by_role("listitem")
    aimed_at = rows.filter(has_text="succeeded").first
    box = aimed_at.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + box["height"] - 20)

    other = second_tab(page)
    actions.start(other, LONG)
    news = page.get_by_text("kept still under the pointer")

    def aims_and_sees_news() -> bool:
        page.mouse.move(box["x"] + 20, box["y"] + box["height"] - 20)
        page.mouse.move(box["x"] + 21, box["y"] + box["height"] - 20)
        return news.is_visible()

    page.bring_to_front()
    eventually_sync(aims_and_sees_news, within=15.0)
    assert aimed_at.bounding_box() == box
    expect(rows.filter(has_text="running")).to_have_count(0)

    page.mouse.move(0, 0)
    expect(rows.first).to_contain_text("running")
    actions.stop(other)


def test_a_prompt_written_before_the_script_is_there_is_not_lost(
    open_context: Callable[..., BrowserContext],
) -> None:
    page = open_context().new_page()
    sign_in(page)
    expect_live(page)
    held: list[Route] = []
    page.route("**/board.js", lambda route: held.append(route))  # noqa: PLW0108 Playwright marks it
    page.goto("/", wait_until="commit")
    actions.prompt(page).fill(SHORT)
    expect(actions.start_button(page)).to_be_disabled()
    eventually_sync(lambda: page.evaluate("1") and held)  # asking the page lets events come in
    held[0].continue_()

    actions.start_button(page).click()

    actions.expect_state(page, "succeeded")


def test_an_empty_prompt_is_refused_with_a_sentence(board: OpenPage) -> None:
    page = board()

    actions.start_button(page).click()

    expect(page.get_by_role("alert")).to_have_text("Write a prompt first.")
    expect(actions.prompt(page)).to_be_focused()


@pytest.mark.parametrize("path", ["/", "/accounts/login/"])
def test_the_pages_live_with_a_strict_content_security_policy(board: OpenPage, path: str) -> None:
    page = board()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )

    def add_policy(route: object, request: object) -> None:
        response = route.fetch()  # type: ignore[attr-defined]
        headers = {**response.headers, "content-security-policy": policy}
        route.fulfill(response=response, headers=headers)  # type: ignore[attr-defined]

    page.route(f"**{path}", add_policy)
    page.goto(path)

    expect(page.get_by_role("button", name="Dark theme")).to_be_visible()
    if path == "/":
        expect_live(page)
        actions.start(page, SHORT)
        actions.expect_state(page, "succeeded")
    assert not complaints
