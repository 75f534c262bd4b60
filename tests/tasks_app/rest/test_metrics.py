"""`/metrics`: what workers counted and what waits, from whatever process is asked."""

from __future__ import annotations

import pytest
from django.test import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from tasks_app.domain.metrics import CALL_DURATION, TOKENS, Tally, readings
from tasks_app.services import metrics
from tasks_app.store import metrics as store


async def scraped(client: AsyncClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read the page as Prometheus does."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def total(samples: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str) -> float:
    return sum(value for (found, _), value in samples.items() if found == name)


def test_what_could_not_be_handed_on_is_counted_later() -> None:
    tally = Tally()
    tally.count(TOKENS, ("title", "m", "prompt"))
    taken = tally.take()
    tally.count(TOKENS, ("title", "m", "prompt"), 2)
    tally.give_back(taken)
    assert tally.take() == {("signalbox_generation_tokens", "title", "m", "prompt"): 3}
    assert tally.take() == {}


def test_a_value_counts_in_the_bucket_whose_limit_it_does_not_exceed() -> None:
    tally = Tally()
    for seconds in (0.1, 0.11, 1_000.0):
        tally.observe(CALL_DURATION, ("title", "m"), seconds)
    (reading,) = readings(tally.take())
    assert reading.labels == ("title", "m")
    assert reading.value == pytest.approx(1_000.21)
    assert (reading.buckets[0], reading.buckets[1], reading.buckets[-1]) == (1, 1, 1)
    assert sum(reading.buckets) == 3


def test_figures_of_another_version_are_left_out() -> None:
    known = {("signalbox_generation_tokens", "title", "m", "prompt"): 4.0}
    others = {("signalbox_unknown", "x"): 1.0, ("signalbox_generation_tokens", "title"): 1.0}
    (reading,) = readings({**known, **others})
    assert reading.value == 4


@pytest.mark.usefixtures("engine")
async def test_the_sums_of_all_processes_are_shown(async_client: AsyncClient) -> None:
    for _ in range(2):  # as two processes would
        metrics.count(TOKENS, ("title", 'a "model"\n', "prompt"), 12)
        metrics.observe(CALL_DURATION, ("title", "m"), 0.3)
        await metrics.hand_on()
    found = await scraped(async_client)
    labels = (("kind", "title"), ("model", 'a "model"\n'), ("type", "prompt"))
    assert found["signalbox_generation_tokens_total", labels] == 24
    assert total(found, "signalbox_generation_call_seconds_count") == 2
    assert total(found, "signalbox_generation_call_seconds_sum") == pytest.approx(0.6)
    assert found["signalbox_generation_call_seconds_bucket",
                 (("kind", "title"), ("le", "0.25"), ("model", "m"))] == 0  # fmt: skip
    assert found["signalbox_generation_call_seconds_bucket",
                 (("kind", "title"), ("le", "0.5"), ("model", "m"))] == 2  # fmt: skip


@pytest.mark.usefixtures("engine")
async def test_there_are_not_more_figures_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_FIELDS", 2)
    for model in ("a", "b", "c"):
        metrics.count(TOKENS, ("title", model, "prompt"))
    metrics.count(TOKENS, ("title", "a", "prompt"))
    await metrics.hand_on()
    await metrics.hand_on()  # nothing is left
    assert {reading.labels[1]: reading.value for reading in await metrics.read_metrics()} == {
        "a": 2, "b": 1,
    }  # fmt: skip
