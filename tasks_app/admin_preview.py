"""The admin's page that shows what the prompt templates become on a sample."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from tasks_app.generation.configuration import current_sync
from tasks_app.generation.kinds import KINDS
from tasks_app.generation.options import LONGEST_TEMPLATE, template_name
from tasks_app.generation.preview import SAMPLE, preview

PREVIEW_TEMPLATE = "admin/tasks_app/taskconfiguration/preview.html"


def preview_context(request: HttpRequest) -> dict[str, Any]:
    """Return the texts of all kinds: of the templates that were posted, else of those in force."""
    user_id = str(request.user.pk)
    config = current_sync()
    shown = []
    for kind in KINDS.values():
        posted = request.POST.get(template_name(kind.name))
        template = config.template(kind.name) if posted is None else posted[:LONGEST_TEMPLATE]
        is_built_in = not template.strip()
        made = preview(kind.prompt if is_built_in else template, user_id=user_id)
        shown.append(
            {
                "title": kind.title,
                "is_built_in": is_built_in,
                "text": made.text,
                "errors": made.errors,
            }
        )
    return {
        "title": "Preview of the prompts",
        "previews": shown,
        "sample": [message["content"] for message in SAMPLE.messages],
        "is_posted": request.method == "POST",
    }
