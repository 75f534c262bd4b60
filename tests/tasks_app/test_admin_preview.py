"""The preview of the prompt templates in the admin."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tasks_app.generation.configuration import current_sync, update_sync
from tests.tasks_app.test_admin import html, signed_in
from tests.tasks_app.test_admin_config import PAGE, form, helper

pytestmark = pytest.mark.django_db(transaction=True)

PREVIEW = f"{PAGE}preview/"


@pytest.fixture
def browser() -> Client:
    return signed_in(User.objects.create_superuser("boss"))


def test_the_page_leads_to_the_preview(browser: Client):
    assert f'formaction="{PREVIEW}"' in html(browser.get(PAGE))


def test_templates_of_the_form_are_shown_and_not_saved(browser: Client):
    changed = form(browser, TITLE_GENERATION_PROMPT_TEMPLATE="<b>{{prompt:start:7}}</b> {{nope}}")
    page = html(browser.post(PREVIEW, changed))
    assert "&lt;b&gt;And how&lt;/b&gt; {{nope}}" in page
    assert "There is no variable {{nope}}." in page
    assert "nothing was saved" in page
    assert current_sync().TITLE_GENERATION_PROMPT_TEMPLATE == ""


def test_without_a_form_the_templates_in_force_are_shown(browser: Client):
    update_sync({"MOA_GENERATION_PROMPT_TEMPLATE": "{{responses}} for {{USER_NAME}}"})
    page = html(browser.get(PREVIEW))
    assert "Once a day in summer, in the early morning." in page
    assert "for boss" in page
    assert "Title generation (built in)" in page
    assert "Merging answers</h2>" in page


def test_the_preview_is_for_staff_who_may_see_the_configuration():
    assert helper("viewer", "view_task").get(PREVIEW).status_code == 200
    assert helper("other").get(PREVIEW).status_code == 403
    assert Client().get(PREVIEW).status_code == 302
