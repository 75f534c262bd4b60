"""`GET /metrics`: the state of the cluster and the sums of all its processes, for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from tasks_app import api
from tasks_app.domain.metrics import Reading
from tasks_app.errors import StoreUnavailable
from tasks_app.rest.errors import detail_response

READ_SECONDS = 5.0


@require_safe
async def metrics(_request: HttpRequest) -> HttpResponse:
    """Answer in Prometheus' text format, the same from every instance; 503 without Redis."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            stats, sums = await asyncio.gather(api.read_stats(), api.read_metrics())
    except (StoreUnavailable, TimeoutError):
        return detail_response(503, "Redis does not answer.", {"Retry-After": "5"})
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected([*_state(stats), *_families(sums)]))
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _Collected(Collector):
    """Hands on what was read before: a registry asks synchronously."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _state(stats: api.Stats) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "signalbox_queue_waiting", "Tasks that wait in a queue.", labels=["queue"]
    )
    oldest = GaugeMetricFamily(
        "signalbox_queue_oldest_seconds", "How long a queue's oldest task waits.", labels=["queue"]
    )
    for queue in stats.queues:
        waiting.add_metric([queue.name], queue.waiting)
        oldest.add_metric([queue.name], queue.oldest_s)
    tasks = GaugeMetricFamily(
        "signalbox_tasks", "Tasks in a state now; held: queued, but a limit is reached.",
        labels=["state"],
    )  # fmt: skip
    for state in ("scheduled", "held", "running", "canceling", "failed"):
        tasks.add_metric([state], getattr(stats, state))
    yield from (waiting, oldest, tasks)
    yield GaugeMetricFamily(
        "signalbox_workers", "Workers with a fresh heartbeat.", len(stats.workers)
    )
    lag = GaugeMetricFamily(
        "signalbox_loop_lag_seconds", "How late a worker's event loop was, in the last minute.",
        labels=["instance", "quantile"],
    )  # fmt: skip
    for worker in stats.workers:
        if worker.lag is not None:
            lag.add_metric([worker.instance, "0.5"], worker.lag.p50_ms / 1000)
            lag.add_metric([worker.instance, "0.99"], worker.lag.p99_ms / 1000)
    yield lag


def _families(sums: Sequence[Reading]) -> Iterator[Metric]:
    for figure, found in groupby(sums, key=lambda reading: reading.figure):
        if figure.buckets:
            histogram = HistogramMetricFamily(figure.name, figure.help, labels=figure.labels)
            for reading in found:
                histogram.add_metric(reading.labels, _cumulated(reading), reading.value)
            yield histogram
        else:
            counter = CounterMetricFamily(figure.name, figure.help, labels=figure.labels)
            for reading in found:
                counter.add_metric(reading.labels, reading.value)
            yield counter


def _cumulated(reading: Reading) -> list[tuple[str, float]]:
    limits = [*map(str, reading.figure.buckets), "+Inf"]
    total = 0.0
    cumulated = []
    for limit, number in zip(limits, reading.buckets, strict=True):
        total += number
        cumulated.append((limit, total))
    return cumulated
