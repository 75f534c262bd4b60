from __future__ import annotations

import collections
import time

import hypothesis
from hypothesis.stateful import run_state_machine_as_test

import tests.tasks_app.store.test_model as m

C = collections.Counter()
orig = m.StoreMachine.run


def run(self, call):
    r = orig(self, call)
    C[
        (call.script.name, str(r)[:40] if call.script.name in ("settle", "stop", "emit") else "")
    ] += 1
    return r


m.StoreMachine.run = run
P = hypothesis.Phase


def test_it(settings, redis_url):
    import os

    import redis

    shrink = int(os.environ.get("SHRINK", "0"))
    with redis.Redis.from_url(redis_url, decode_responses=True) as server:
        M = type("Machine", (m.StoreMachine,), {"server": server})
        t = time.time()
        try:
            run_state_machine_as_test(
                M,
                settings=hypothesis.settings(
                    max_examples=int(os.environ.get("N", "150")),
                    stateful_step_count=60,
                    derandomize=False,
                    database=None,
                    phases=[P.generate] + ([P.shrink] if shrink else []),
                    deadline=None,
                    suppress_health_check=list(hypothesis.HealthCheck),
                ),
            )
        finally:
            print(C, time.time() - t)


o2 = m.StoreMachine._check_waiting


def cw(self, left):
    C["steps"] += 1
    h = [k for k in self.seen if k.startswith("held:")]
    if h:
        C["held"] += 1
    for k in h:
        if len(self.seen[k]) > 1:
            C["held2+"] += 1
        key = k[5:]
        w = [
            e
            for e in self.model.having("queued")
            if e.new.concurrency_key == key and e.id not in self.seen[k]
        ]
        if w and not self.model.on_slots(key):
            C["held, let in, none running"] += 1
    if not self.model.entries:
        C["empty"] += 1
    if self.model.having("running"):
        C["running"] += 1
    C["unf"] += len(self.model.unfinished)
    o2(self, left)


m.StoreMachine._check_waiting = cw
