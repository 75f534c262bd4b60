"""Runs the corpus of outputs and every fault of a provider, and prints the tables of the docs.

`DEBUG=1 python -m tests.corpus_table`: a scripted provider on a real socket says each output as it
is in tests/data/outputs.jsonl; each goes the whole way, from the request to the answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "data" / "outputs.jsonl"
FAULTS = (
    "fake-empty", "fake-empty-body", "fake-useless", "fake-no-done", "fake-no-format",
    "fake-no-stream-options", "fake-html", "fake-error-200", "fake-error-mid-3", "fake-nonsense",
    "fake-flood", "fake-filtered", "fake-half-3", "fake-half-utf8", "fake-reset-0", "fake-reset-3",
    "fake-hang", "fake-hang-headers", "fake-hang-after-3", "fake-redirect", "fake-400", "fake-401",
    "fake-403", "fake-404", "fake-429", "fake-429-after-3600", "fake-500", "fake-503",
    "fake-removed",
)  # fmt: skip
QUESTION = "How do I grow tomatoes on a windy balcony?"
TIMEOUT_S = 1.0


async def corpus_table(provider: Any) -> list[str]:
    """Return the rows: kind, outputs, answers found, fallbacks, and how many came as expected."""
    counts: dict[str, Counter[str]] = {}
    for line in CORPUS.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        outcome, answer = await _corpus_outcome(provider, entry)
        counted = counts.setdefault(entry["kind"], Counter())
        expected = entry["expected"] == ("fallback" if outcome == "fallback" else answer)
        counted.update(["outputs", outcome, *(["expected"] if expected else [])])
        if not expected:
            print(f"unexpected: {entry['kind']}, {entry['habit']}: {answer!r}")  # noqa: T201
    total = sum(counts.values(), Counter[str]())
    return [
        "| kind | outputs | answer found | fallback | as expected |",
        "| --- | --: | --: | --: | --: |",
        *(_row(kind, counted) for kind, counted in [*counts.items(), ("all", total)]),
    ]


def _row(kind: str, counted: Counter[str]) -> str:
    columns = (counted[name] for name in ("outputs", "answer", "fallback", "expected"))
    return f"| {kind} | {' | '.join(map(str, columns))} |"


async def _corpus_outcome(provider: Any, entry: dict[str, Any]) -> tuple[str, Any]:
    from tasks_app.generation.kinds import KINDS  # noqa: PLC0415 Django is set up only now

    said, kind = entry["output"], KINDS[entry["kind"]]
    model = f"fake-say:{said}" if said else "fake-empty"
    provider.models.append(model)
    prompt = entry.get("prompt", QUESTION)
    made = await _generated(kind, {"model": model, "prompt": prompt, "responses": ["one", "two"]})
    content = made["choices"][0]["message"]["content"]
    answer = json.loads(content)[kind.field] if kind.field else content
    return ("fallback" if made.get("fallback") else "answer"), answer


async def _generated(kind: Any, body: dict[str, Any]) -> dict[str, Any]:
    from tasks_app.generation.catalog import aclose_catalog  # noqa: PLC0415 as above
    from tasks_app.generation.generate import generate  # noqa: PLC0415
    from tests.support.recording import RecordingContext  # noqa: PLC0415

    await aclose_catalog()  # so that the model just added is known
    context = RecordingContext()
    context.user_id = ""
    return await generate(kind, context, body, retry_seconds=0)


async def fault_table(provider: Any) -> list[str]:
    """Return the rows: what the provider does, and how a chat and a title end."""
    from tasks_app.generation.chat import complete  # noqa: PLC0415 Django is set up only now
    from tasks_app.generation.kinds import KINDS  # noqa: PLC0415
    from tests.support.recording import RecordingContext  # noqa: PLC0415

    provider.models += [name for name in FAULTS if name != "fake-removed"]
    rows = ["| the provider's script | a chat ends | a title ends |", "| --- | --- | --- |"]
    for model in FAULTS:
        body = {"model": model, "messages": [{"role": "user", "content": QUESTION}]}

        async def chat(body: dict[str, Any] = body) -> dict[str, Any]:
            return await complete(RecordingContext(), body, retry_seconds=0)

        async def title(body: dict[str, Any] = body) -> dict[str, Any]:
            return await _generated(KINDS["title"], body)

        rows.append(f"| `{model}` | {await _ending(chat)} | {await _ending(title)} |")
    return rows


async def _ending(run: Callable[[], Awaitable[dict[str, Any]]]) -> str:
    from tasks_app.generation.errors import GenerationError  # noqa: PLC0415 as above

    try:
        made = await run()
    except GenerationError as error:
        return f"failed: `{error.error_type}`"
    return "fallback" if made.get("fallback") else "answer"


async def _tables() -> list[str]:
    from django.conf import settings  # noqa: PLC0415 as above

    from tests.support.fake_provider import FakeProvider  # noqa: PLC0415

    async with FakeProvider() as provider:
        settings.OPENAI_API_BASE_URL = [provider.base_url]
        settings.OPENAI_API_KEY = [""]
        settings.PROVIDER_TIMEOUT = TIMEOUT_S
        return [*await corpus_table(provider), "", *await fault_table(provider)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATABASE_URL"] = f"sqlite:///{folder}/db.sqlite3"
        os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
        import django  # noqa: PLC0415 the environment comes first

        django.setup()
        from django.conf import settings  # noqa: PLC0415
        from django.core.management import call_command  # noqa: PLC0415

        from tests.conftest import point_at, started_redis  # noqa: PLC0415

        logging.disable(logging.CRITICAL)
        call_command("migrate", verbosity=0)
        with started_redis() as server:
            point_at(settings, server.url, "corpus")
            print("\n".join(asyncio.run(_tables())))  # noqa: T201 this is what it is for


if __name__ == "__main__":
    main()
