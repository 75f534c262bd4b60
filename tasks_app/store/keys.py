"""Every key and channel of the task engine: the one place where their names are built.

All of them begin with the same prefix and, in Cluster mode, with the same hash tag, so that one
script may touch any of them. The scripts get the prefix as their only KEY and build names from
the same table as this module: `NAMES` is rendered into their prelude (scripts.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks_app import conf

NAMES = {
    # contract
    "tasks": "tasks",  # hash: task id -> item id, every unfinished task; written by enqueue, end
    "item": "tasks:item:",  # set + item id: ids of the item's unfinished tasks
    "commands": "tasks:commands",  # channel: {"action": "stop", "task_id": …}
    # records, removed by prune when their retention has passed
    "task": "task:",  # hash + task id: the record
    "output": "output:",  # stream + task id: events, bounded; the first ones are in the record
    "text": "text:",  # string + task id: the whole text of the current attempt
    # indexes
    "all": "all",  # sorted set: task id by sequence number; every task that is kept
    "user": "user:",  # sorted set + user id: the same, of one user
    "queue": "queue:",  # sorted set + queue: waiting task ids by priority, then age
    "threadless": "threadless:",  # sorted set + queue: as there; need a thread, found none free
    "scheduled": "scheduled",  # sorted set: task id by due time (ms)
    "running": "running",  # sorted set: task id by lease expiry (ms)
    "finished": "finished",  # sorted set: task id by end (ms)
    "failed": "failed",  # sorted set: task id by sequence number; failed for good, until pruned
    "queues": "queues",  # set: names of queues; prune removes those that are empty
    "children": "children:",  # sorted set + parent id: child ids, 0 unfinished, 1 finished; prune
    "stopping": "stopping",  # set: tasks whose remaining children reap has to stop, or hand over
    "expiring": "expiring",  # sorted set: id by expiry (ms), not started yet; reap ends those due
    # keys of tasks, each `user id` + NUL + name (for two of them + NUL + path): see `scope` below
    "unique": "unique:",  # string + scope: the unfinished task of that key; removed at its end
    "debounce": "debounce:",  # string + scope: the waiting task; removed when it starts or ends
    "supersede": "supersede:",  # string + scope: the newest unfinished task; removed at its end
    "slots": "slots:",  # set + concurrency key: ids of the leased tasks; empty when none runs
    "held": "held:",  # sorted set + concurrency key: queued ids that wait for one of its slots
    "blocked": "blocked",  # set: concurrency keys with held tasks; reap looks after them
    "workers": "workers",  # sorted set: worker instance by last heartbeat (ms)
    "serving": "serving:",  # sorted set + queue: its workers, as in `workers`; goes with them
    "worker_facts": "worker_facts",  # hash: worker instance -> JSON about it; goes with `workers`
    "claims": "claims:",  # string + worker instance: its last claim, expires with the leases
    "sequence": "sequence",  # counter: order of enqueueing
    "lock": "lock:",  # string + name: its owner's token, expires; also the channel of its release
    "fences": "fences",  # counter: fencing numbers of all locks
    "periodic": "periodic",  # hash: periodic job -> its figures; periodic_forget removes old ones
    "metrics": "metrics",  # hash: figure and labels -> number; as many fields as there are labels
    "allowance": "allowance:",  # hash + user id: what is left of their limits; expires when whole
    # channels: hints and numbered deltas, never the only copy of anything
    "events": "events:",  # channel + task id: one message per event, with its predecessor's id
    "changes": "changes:",  # channel + user id: {"task_id": …} when that user's task changed
    "changes_all": "changes",  # channel: the same for every task
    "access": "access",  # channel: the user id ("" of many) whose rights may have changed
    "wake": "wake",  # channel: name of the queue that has something to claim
}


@dataclass(frozen=True, slots=True)
class Keys:
    """Builds the names below one prefix, e.g. `signalbox:` or, in Cluster mode, `{signalbox}:`."""

    prefix: str

    @classmethod
    def of(cls, prefix: str, *, cluster: bool = False) -> Keys:
        return cls(f"{{{prefix}}}:" if cluster else f"{prefix}:")

    def name(self, kind: str, suffix: str = "") -> str:
        return f"{self.prefix}{NAMES[kind]}{suffix}"

    def task(self, task_id: str) -> str:
        return self.name("task", task_id)

    def item(self, item_id: str) -> str:
        return self.name("item", item_id)

    def events(self, task_id: str) -> str:
        return self.name("events", task_id)

    def changes(self, user_id: str | None) -> str:
        return self.name("changes", user_id) if user_id is not None else self.name("changes_all")

    def index(self, user_id: str | None) -> str:
        return self.name("user", user_id) if user_id is not None else self.name("all")


def current() -> Keys:
    """Return the names under the configured prefix."""
    config = conf.redis_config()
    return Keys.of(config.prefix, cluster=config.cluster)


def cache_key(key: str, key_prefix: str, version: int) -> str:
    """Name an entry of Django's cache in Cluster mode: in the engine's slot, so that they share it.

    CACHES names this function (KEY_FUNCTION).
    """
    return f"{Keys.of(key_prefix, cluster=True).prefix}{version}:{key}"
