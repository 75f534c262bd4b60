"""The documents pages in a real browser: several people write one text, and nobody loses a word."""

from __future__ import annotations

import itertools
import json
import re
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from tests.e2e.test_reach import CONTRAST, PHONE, press_until_focused
from tests.support.eventually import eventually_sync
from tests.support.node import STOCK_CLIENTS, Driven, packages_of
from tests.support.stack import PASSWORD, USER, Stack

pytestmark = pytest.mark.timeout(240)  # the first one builds the editor

PEOPLE = ("ada", "grace", "rose")
MAKE_PEOPLE = f"""
from django.contrib.auth.models import User
for name in {PEOPLE!r}:
    User.objects.create_user(name, password={PASSWORD!r})
"""
BOX = "[role=textbox][aria-label='Document text']"
numbers = itertools.count(1)


class Documents:
    """The documents of the running system, as a client of the REST API sees them."""

    def __init__(self, stack: Stack) -> None:
        self.url = stack.url
        self.token = stack.token()
        stack.manage("shell", "-v", "0", "-c", MAKE_PEOPLE)

    def call(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 our own server
            f"{self.url}/api/v1/documents{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
            },
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 the same
            text = answer.read()
        return json.loads(text) if text else None

    def make(self, content: str = "", **access: str) -> str:
        """Return the id of a new document of the superuser, shared with these people."""
        title = f"Document {next(numbers)}"
        made = self.call("POST", "", {"title": title, "content": content})
        for name, permission in access.items():
            self.share(made["id"], name, permission)
        return str(made["id"])

    def share(self, document: str, name: str, permission: str) -> None:
        self.call("PUT", f"/{document}/access/{name}", {"permission": permission})

    def text(self, document: str) -> str:
        return str(self.call("GET", f"/{document}")["content"])


@pytest.fixture(scope="package")
def documents(stack: Stack, frontend: str) -> Documents:
    return Documents(stack)


OpenDocument = Callable[..., Page]


@pytest.fixture
def visit(open_context: Callable[..., BrowserContext], documents: Documents) -> OpenDocument:
    """Give a function that signs somebody in and opens an address in a browser of their own."""

    def open_page(path: str, user: str = USER, **options: Any) -> Page:
        page = open_context(**options).new_page()
        page.goto(path)
        page.get_by_label("User name").fill(user)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        return page

    return open_page


@pytest.fixture
def open_document(visit: OpenDocument) -> OpenDocument:
    """Give a function that opens a document in somebody's browser, ready to be written in."""

    def open_page(document: str, user: str = USER, **options: Any) -> Page:
        page = visit(f"/documents/{document}/", user, **options)
        expect(box(page)).to_be_visible()
        return page

    return open_page


def box(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Document text")


def text(page: Page) -> str:
    """Return what the text box shows; what stands at the others' carets is no part of it."""
    return str(
        page.evaluate(
            """selector => {
              const box = document.querySelector("#editor").shadowRoot.querySelector(selector);
              return [...box.querySelectorAll(".cm-line")].map((line) => {
                const copy = line.cloneNode(true);
                copy.querySelectorAll(".caret, .cm-placeholder").forEach((one) => one.remove());
                return copy.textContent;
              }).join("\\n");
            }""",
            BOX,
        )
    )


def expect_text(page: Page, wanted: str) -> None:
    expect(box(page)).to_be_visible()
    eventually_sync(lambda: _same(text(page), wanted), within=15.0)


def _same(found: str, wanted: str) -> bool:
    assert found == wanted
    return True


def write_at(page: Page, key: str, words: str) -> None:
    """Type at the beginning (`Home`) or the end (`End`) of the text."""
    box(page).click()
    page.keyboard.press(f"Control+{key}")
    page.keyboard.type(words)


def expect_saved(page: Page, version: int | None = None) -> None:
    wanted = rf"Saved · version {version or '[0-9]+'} ·"
    expect(page.locator("#saved")).to_contain_text(re.compile(wanted))


def people(page: Page) -> Locator:
    return page.get_by_role("list", name="Here now").get_by_role("listitem")


# --- writing together ----------------------------------------------------------------------------


def test_two_write_at_once_and_see_the_same(
    open_document: OpenDocument, documents: Documents
) -> None:
    document = documents.make("middle", ada="write")
    one, other = open_document(document), open_document(document, "ada")
    for page, key in ((one, "Home"), (other, "End")):
        box(page).click()
        page.keyboard.press(f"Control+{key}")

    for number in range(20):
        one.keyboard.type(f"a{number} ")
        other.keyboard.type(f" b{number}")

    wanted = "".join(f"a{n} " for n in range(20)) + "middle"
    wanted += "".join(f" b{n}" for n in range(20))
    expect_text(one, wanted)
    expect_text(other, wanted)
    expect_saved(one)
    assert documents.text(document) == wanted


def test_everybody_sees_who_is_here_and_where_they_write(
    open_document: OpenDocument, documents: Documents
) -> None:
    document = documents.make("first line\nsecond line", ada="write")
    one, other = open_document(document), open_document(document, "ada")
    write_at(one, "End", "!")
    expect(people(one)).to_have_text([f"{USER} (you)", "ada"])
    expect(people(other)).to_have_text(["ada (you)", USER])

    caret = other.locator(".caret")
    expect(caret.locator(".caret-name")).to_have_text(USER)
    expect(caret.locator("xpath=..")).to_contain_text("second line!")
    one.keyboard.press("Shift+Home")
    expect(other.locator(".selected")).to_have_text("second line!")

    one.close()
    expect(people(other)).to_have_text(["ada (you)"])
    expect(caret).to_have_count(0)


def test_undo_takes_back_only_what_one_wrote_oneself(
    open_document: OpenDocument, documents: Documents
) -> None:
    document = documents.make("", ada="write")
    one, other = open_document(document), open_document(document, "ada")
    expect(one.get_by_role("button", name="Undo")).to_be_disabled()
    write_at(one, "End", "mine ")
    expect_text(other, "mine ")
    write_at(other, "End", "theirs")
    expect_text(one, "mine theirs")

    one.get_by_role("button", name="Undo").click()
    expect_text(one, "theirs")
    expect_text(other, "theirs")
    one.get_by_role("button", name="Redo").click()
    expect_text(other, "mine theirs")
    box(other).click()
    other.keyboard.press("Control+z")
    expect_text(one, "mine ")


def test_what_is_written_while_the_server_is_away_is_merged(
    open_document: OpenDocument, documents: Documents, stack: Stack
) -> None:
    document = documents.make("middle", ada="write")
    one, other = open_document(document), open_document(document, "ada")
    box(one).click()
    stack.kill("web-1")
    for page in (one, other):
        expect(page.locator("#connection")).to_contain_text("your edits are kept")

    write_at(one, "Home", "before ")
    write_at(other, "End", " after")
    expect(one.locator("#saved")).to_have_text("Offline: your edits are kept")
    stack.start_web()

    for page in (one, other):
        expect_text(page, "before middle after")
        expect_saved(page)
    assert documents.text(document) == "before middle after"


def test_a_reload_shows_what_was_written(open_document: OpenDocument, documents: Documents) -> None:
    document = documents.make("")
    page = open_document(document)
    write_at(page, "End", "A line.\nAnother — with ümläuts and 🚂.")
    expect_saved(page)

    page.reload()

    expect_text(page, "A line.\nAnother — with ümläuts and 🚂.")


def test_a_large_paste_arrives(open_document: OpenDocument, documents: Documents) -> None:
    document = documents.make("", ada="write")
    one, other = open_document(document), open_document(document, "ada")
    large = "All signals on this line are at danger. " * 26_215  # 1 MiB
    box(one).click()

    one.keyboard.insert_text(large)

    eventually_sync(lambda: _same(documents.text(document), large), within=30.0, every=0.5)
    expect(box(other)).to_contain_text("All signals on this line")
    expect_saved(one)


def test_places_stay_in_step_with_editors_that_write_more_than_lines(
    open_document: OpenDocument, documents: Documents, stack: Stack
) -> None:
    document = documents.make("ab")
    page = open_document(document)
    stock = Driven(packages_of(STOCK_CLIENTS.parent), STOCK_CLIENTS)
    address = f"{stack.url.replace('http', 'ws')}/ws/documents"
    params = {"token": documents.token}
    stock.call("open", name="stock", server=address, room=document, params=params)
    eventually_sync(lambda: stock.call("synced", name="stock"), within=15.0)

    stock.call("embed", name="stock", value={"image": "signal.png"}, index=1)
    stock.call("append", name="stock", text="\r\nc")
    expect(box(page)).to_contain_text("c")
    write_at(page, "End", "!")
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.type("-")

    def came() -> bool:
        return _same(stock.call("text", name="stock"), "a-b\r\nc!")

    eventually_sync(came, within=15.0)
    page.reload()
    write_at(page, "End", "?")
    eventually_sync(lambda: _same(documents.text(document), "a-b\r\nc!?"), within=15.0)
    stock.close()


# --- rights --------------------------------------------------------------------------------------


def test_a_reader_sees_everything_and_can_change_nothing(
    open_document: OpenDocument, documents: Documents
) -> None:
    document = documents.make("as it is", rose="read")
    owner, reader = open_document(document), open_document(document, "rose")
    expect(box(reader)).to_have_attribute("aria-readonly", "true")
    expect(reader.get_by_text("You may read this document")).to_be_visible()
    for name in ("Undo", "Continue this document", "Share"):
        expect(reader.get_by_role("button", name=name)).to_be_hidden()

    box(reader).click()
    reader.keyboard.type("graffiti")
    reader.keyboard.press("Control+v")
    write_at(owner, "End", ", and more")

    expect_text(reader, "as it is, and more")
    expect_text(owner, "as it is, and more")


def test_the_owner_shares_and_takes_back(
    open_document: OpenDocument, documents: Documents, visit: OpenDocument
) -> None:
    document = documents.make("shared")
    owner = open_document(document)
    owner.get_by_role("button", name="Share").click()
    dialog = owner.get_by_role("dialog", name="Who else may open this document")
    dialog.get_by_label("User name").fill("nobody-of-that-name")
    dialog.get_by_role("button", name="Give access").click()
    expect(dialog.get_by_role("alert")).to_contain_text("There is no user of that name")
    dialog.get_by_label("User name").fill("ada")
    dialog.get_by_role("button", name="Give access").click()
    row = dialog.get_by_role("listitem").filter(has_text="ada")
    expect(row).to_be_visible()

    guest = open_document(document, "ada")
    write_at(guest, "End", "!")
    expect_text(owner, "shared!")
    row.get_by_label("What ada may do").select_option("read")
    expect(box(guest)).to_have_attribute("aria-readonly", "true")

    row.get_by_role("button", name="Take access from ada").click()
    expect(row).to_have_count(0)
    expect(guest.get_by_role("alert")).to_contain_text("Your access was taken away")
    guest.reload()
    expect(guest.get_by_role("alert")).to_contain_text("it is not shared with you")


def test_rights_change_in_open_editors(open_document: OpenDocument, documents: Documents) -> None:
    document = documents.make("text", ada="read")
    owner, guest = open_document(document), open_document(document, "ada")
    expect(box(guest)).to_have_attribute("aria-readonly", "true")

    documents.share(document, "ada", "write")
    expect(box(guest)).to_be_editable()
    write_at(guest, "End", "!")
    expect_text(owner, "text!")
    expect_saved(guest)

    documents.share(document, "ada", "read")
    expect(box(guest)).to_have_attribute("aria-readonly", "true")
    expect(guest.get_by_text("not change it any more")).to_be_visible()
    expect(guest.locator("#saved")).to_contain_text("Saved")


def test_a_deleted_document_is_said_to_be_gone(
    open_document: OpenDocument, documents: Documents
) -> None:
    document = documents.make("soon gone")
    page = open_document(document)

    documents.call("DELETE", f"/{document}")

    expect(page.get_by_role("alert")).to_contain_text("The document was deleted")
    expect_text(page, "soon gone")


# --- the page ------------------------------------------------------------------------------------


def test_the_list_makes_opens_and_deletes(visit: OpenDocument) -> None:
    page = visit("/documents/", "grace")
    expect(page.get_by_text("There is no document yet")).to_be_visible()
    page.get_by_label("Title of a new document").fill("Signal <b>plan</b>")
    page.keyboard.press("Enter")
    expect(box(page)).to_be_visible()
    expect(page.get_by_label("Title")).to_have_value("Signal <b>plan</b>")

    page.get_by_role("link", name="Documents").click()
    row = page.get_by_role("list", name="Documents").get_by_role("listitem")
    expect(row).to_contain_text("Signal <b>plan</b>")
    expect(row).to_contain_text("owner · version 1")
    row.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete “Signal <b>plan</b>”?")
    dialog.get_by_role("button", name="Keep it").click()
    expect(row).to_be_visible()
    row.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There is no document yet")).to_be_visible()


def test_a_new_title_reaches_the_others(open_document: OpenDocument, documents: Documents) -> None:
    document = documents.make("")
    page = open_document(document)
    page.get_by_label("Title").fill("Timetable")
    page.keyboard.press("Enter")
    expect(page).to_have_title("Timetable · Signalbox")

    page.reload()

    expect(page.get_by_label("Title")).to_have_value("Timetable")


def test_versions_are_compared_and_restored(
    open_document: OpenDocument, documents: Documents
) -> None:
    document = documents.make("The first text.")
    page = open_document(document)
    expect_saved(page, 1)
    box(page).click()
    page.keyboard.press("Control+a")
    page.keyboard.type("Something else.")
    expect_saved(page, 2)

    page.get_by_role("button", name="Versions").click()
    listed = page.get_by_role("list", name="Versions").get_by_role("button")
    expect(listed.first).to_contain_text("Version 2")
    page.get_by_role("button", name="Version 1").click()
    comparison = page.locator("#comparison")
    expect(comparison).to_contain_text("The first text.")
    expect(comparison).to_contain_text("Something else.")
    page.get_by_role("button", name="Restore version 1").click()

    expect_text(page, "The first text.")
    expect_saved(page, 3)


def test_a_model_writes_on_beside_people_and_is_stopped_from_another_tab(
    open_document: OpenDocument, documents: Documents
) -> None:
    document = documents.make("Once upon a time\nfake-2000-tokens-30-ms", ada="write")
    page, other = open_document(document), open_document(document, "ada")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()

    page.get_by_role("button", name="Continue this document").click()

    expect(box(other)).to_contain_text("w20 ")
    expect(people(other).filter(has_text="AI (")).to_be_visible()
    expect(other.locator(".caret-name").filter(has_text="AI (")).to_have_count(1)
    expect(other.get_by_role("button", name="Stop")).to_be_hidden()  # it is not ada's
    write_at(other, "Home", "Yes: ")
    tab = page.context.new_page()
    tab.goto(page.url)
    tab.get_by_role("button", name="Stop").click()
    expect(tab.locator("#continue-say")).to_contain_text("What was written stays")
    expect(page.get_by_role("button", name="Continue this document")).to_be_visible()
    expect(people(other).filter(has_text="AI (")).to_have_count(0)

    expect_saved(other)
    left = text(page)
    assert left.startswith("Yes: Once upon a time\nfake-2000-tokens-30-msw0 w1 ")
    expect_text(other, left)
    assert documents.text(document) == left


def test_a_model_that_fails_says_so(open_document: OpenDocument, documents: Documents) -> None:
    page = open_document(documents.make("fake-403"))

    page.get_by_role("button", name="Continue this document").click()

    expect(page.locator("#trouble")).to_contain_text("The model stopped writing")
    expect(page.get_by_role("button", name="Continue this document")).to_be_visible()
    expect_text(page, "fake-403")


def test_it_is_all_done_with_the_keyboard(
    open_document: OpenDocument, documents: Documents
) -> None:
    document = documents.make("")
    page = open_document(document)
    press_until_focused(page, "Tab", "#editor")
    page.keyboard.type("by keyboard")
    expect_text(page, "by keyboard")

    press_until_focused(page, "Shift+Tab", "#undo")
    page.keyboard.press("Enter")
    expect_text(page, "")
    press_until_focused(page, "Shift+Tab", "#share")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    press_until_focused(page, "Shift+Tab", "#versions-open")
    page.keyboard.press("Enter")
    press_until_focused(page, "Tab", ".version")
    page.keyboard.press("Escape")
    expect(page.locator("#versions-open")).to_be_focused()


def test_on_a_phone_it_fits_and_can_be_touched(
    open_document: OpenDocument, documents: Documents
) -> None:
    document = documents.make("words " * 400)
    page = open_document(document, viewport=PHONE, has_touch=True)
    box(page).tap()
    page.keyboard.press("Control+Home")
    page.keyboard.type("On a phone. ")
    expect(box(page)).to_contain_text("On a phone. words")

    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for name in ("Undo", "Continue this document", "Versions", "Share"):
        button = page.get_by_role("button", name=name)
        expect(button).to_be_in_viewport(ratio=1)
        found = button.bounding_box()
        assert found is not None
        assert found["height"] >= 44
    page.get_by_role("button", name="Versions").tap()
    expect(page.get_by_role("list", name="Versions")).to_be_in_viewport()
    expect(page.get_by_role("button", name="Close the versions")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(
    open_document: OpenDocument, documents: Documents, scheme: str
) -> None:
    document = documents.make("", ada="write")
    page = open_document(document, color_scheme=scheme, reduced_motion="reduce")
    weak = page.evaluate(CONTRAST)  # with the placeholder
    other = open_document(document, "ada")
    write_at(other, "End", "one line\nselected")
    other.keyboard.press("Shift+Home")
    expect(page.locator(".selected")).to_have_text("selected")
    expect_saved(page)
    for colour in range(8):
        page.evaluate(
            """colour => {
              const root = document.querySelector("#editor").shadowRoot;
              const hands = [...root.querySelectorAll(".caret, .selected")];
              for (const one of [...document.querySelectorAll(".person"), ...hands]) {
                one.className = one.className.replace(/colour-\\d/, `colour-${colour}`);
                if (one.matches(".caret")) one.classList.add("is-named");
              }
            }""",
            colour,
        )
        weak += page.evaluate(CONTRAST)
    page.get_by_role("button", name="Versions").click()
    page.get_by_role("button", name="Version 1").click()
    expect(page.locator("#comparison")).to_contain_text("selected")
    weak += page.evaluate(CONTRAST)
    page.get_by_role("button", name="Back to the text").click()
    box(page).click()
    page.keyboard.press("Control+f")
    expect(page.locator(".cm-search")).to_be_visible()
    weak += page.evaluate(CONTRAST)
    page.get_by_role("button", name="Share").click()
    weak += page.evaluate(CONTRAST)
    page.goto("/documents/")
    expect(page.get_by_role("list", name="Documents")).to_be_visible()
    weak += page.evaluate(CONTRAST)

    assert not weak


def test_the_pages_live_with_a_strict_content_security_policy(
    open_document: OpenDocument, documents: Documents
) -> None:
    document = documents.make("", ada="write")
    page, other = open_document(document), open_document(document, "ada")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )

    def add_policy(route: Route) -> None:
        response = route.fetch()
        headers = {**response.headers, "content-security-policy": policy}
        route.fulfill(response=response, headers=headers)

    page.route(re.compile(r"/documents/([^/.]+/)?$"), add_policy)
    page.goto("/documents/")
    expect(page.get_by_role("list", name="Documents")).to_be_visible()
    page.goto(f"/documents/{document}/")
    write_at(page, "End", "inline styles are forbidden here")
    write_at(other, "Home", "so: ")
    expect(page.locator(".caret-name")).to_have_text("ada")
    page.get_by_role("button", name="Versions").click()
    page.get_by_role("button", name="Version 1").click()
    expect(page.locator("#comparison")).to_contain_text("forbidden")

    assert page.locator("#comparison").evaluate(
        "host => getComputedStyle(host.shadowRoot.querySelector('.cm-scroller')).overflowX"
    ) in {"hidden", "auto"}  # the editor has its styles
    assert not complaints


def test_without_the_bundle_it_says_what_is_missing_and_opens_once_it_is_there(
    visit: OpenDocument, documents: Documents
) -> None:
    document = documents.make("readable all the same")
    answers = [
        {"script": "", "building": False, "problem": "No Node. Run: manage.py buildfrontend"},
        {"script": "", "building": True, "problem": ""},
    ]

    page = visit("/documents/", "rose")
    documents.share(document, "rose", "write")

    def not_yet(route: Route) -> None:
        if answers:
            route.fulfill(json=answers.pop(0))
        else:
            route.continue_()

    page.route("**/documents/editor.json", not_yet)
    page.clock.install()
    page.goto(f"/documents/{document}/")
    expect(page.get_by_text("Run: manage.py buildfrontend")).to_be_visible()
    expect(page.get_by_role("region", name="Text without the editor")).to_have_text(
        "readable all the same"
    )
    page.clock.run_for(10_000)
    expect(page.get_by_text("The editor is being built")).to_be_visible()
    page.clock.run_for(2_000)
    page.clock.resume()

    expect_text(page, "readable all the same")
    expect(page.get_by_role("region", name="Text without the editor")).to_be_hidden()
