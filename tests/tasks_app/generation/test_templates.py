from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_app.generation.errors import InputTooLong
from tasks_app.generation.templates import LONGEST_PROMPT, TemplateValues, render

MESSAGES = [
    {"role": "user", "content": "first question"},
    {"role": "assistant", "content": "first answer"},
    {"role": "user", "content": [{"type": "text", "text": "look: "}, {"type": "image_url"}]},
    {"role": "tool", "content": None},
]
VALUES = TemplateValues(
    now=datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC),
    messages=MESSAGES,
    prompt="0123456789",
    type="web_search",
    responses=["one", "two"],
    user={"USER_NAME": "Ada", "USER_EMAIL": "ada@example.com", "USER_GROUPS": "staff, users"},
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{prompt}}", "0123456789"),
        ("{{prompt:start:3}}", "012"),
        ("{{prompt:end:3}}", "789"),
        ("{{prompt:end:0}}", ""),
        ("{{prompt:middletruncate:4}}", "01…89"),
        ("{{prompt:middletruncate:99}}", "0123456789"),
        ("{{MESSAGES:START:1}}", "USER: first question"),
        ("{{MESSAGES:END:2}}", "USER: look: [image]\nTOOL: "),
        ("{{MESSAGES:END:0}}", ""),
        ("{{MESSAGES:MIDDLETRUNCATE:2}}", "USER: first question\nTOOL: "),
        ("{{MESSAGES:START:2|start:5}}", "USER: first\nASSISTANT: first"),
        ("{{MESSAGES:START:2|end:6}}", "USER: estion\nASSISTANT: answer"),
        ("{{MESSAGES:START:1|middletruncate:4}}", "USER: fi…on"),
        ("{{MESSAGES|start:1}}", "USER: f\nASSISTANT: f\nUSER: l\nTOOL: "),
        ("{{TYPE}}", "web_search"),
        ("{{responses}}", "one\n\ntwo"),
        ("{{CURRENT_DATE}}", "2026-11-24"),
        ("{{CURRENT_TIME}}", "03:04:05"),
        ("{{CURRENT_DATETIME}}", "2026-11-24 03:04:05"),
        ("{{CURRENT_WEEKDAY}}", "Tuesday"),
        ("{{USER_NAME}} {{USER_EMAIL}} {{USER_GROUPS}}", "Ada ada@example.com staff, users"),
        ("{{ prompt }}", "0123456789"),
    ],
)
def test_every_variable_of_the_contract(template: str, text: str):
    assert render(template, VALUES) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{unknown}}",
        "{{PROMPT}}",
        "{{prompt:start}}",
        "{{prompt:middle:3}}",
        "{{prompt:start:x}}",
        "{{prompt|start:3}}",
        "{{MESSAGES:FIRST:3}}",
        "{{MESSAGES:END:3|half:2}}",
        "{{CURRENT_DATE:start:4}}",
        "{{TYPE",
        "{prompt}",
        "{{}}",
        "{{prompt:start:99999999}}",
    ],
)
def test_what_is_no_variable_stays_as_it_is_written(template: str):
    assert render(template, VALUES) == template


def test_substituted_text_is_never_scanned_again():
    hostile = TemplateValues(
        now=VALUES.now,
        messages=[{"role": "user", "content": "{{prompt}} {{MESSAGES}}"}],
        prompt="{{CURRENT_DATE}} {{prompt:start:4096}}",
    )
    assert render("{{MESSAGES}}|{{prompt}}", hostile) == (
        "USER: {{prompt}} {{MESSAGES}}|{{CURRENT_DATE}} {{prompt:start:4096}}"
    )


@given(st.text(st.sampled_from("{}:| \nprompMESAGd09start"), max_size=60))
def test_any_template_is_rendered(template: str):
    render(template, VALUES)


def test_a_template_cannot_fill_the_memory():
    values = TemplateValues(now=VALUES.now, prompt="x" * 1_000_000)
    assert len(render("{{prompt}}" * 4, values)) == LONGEST_PROMPT
    with pytest.raises(InputTooLong, match="longer than 4000000"):
        render("{{prompt}}" * 5, values)
