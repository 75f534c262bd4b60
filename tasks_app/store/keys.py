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
    "output": "output:",  # stream + task id: events, bounded
    "text": "text:",  # string + task id: the whole text of the current attempt
    # indexes
    "all": "all",  # sorted set: task id by sequence number; every task that is kept
    "user": "user:",  # sorted set + user id: the same, of one user
    "queue": "queue:",  # sorted set + queue: waiting task ids by priority, then age
    "scheduled": "scheduled",  # sorted set: task id by due time (ms)
    "running": "running",  # sorted set: task id by lease expiry (ms)
    "finished": "finished",  # sorted set: task id by end (ms)
    "workers": "workers",  # sorted set: worker instance by last heartbeat (ms)
    "claims": "claims:",  # string + worker instance: its last claim, expires with the leases
    "sequence": "sequence",  # counter: order of enqueueing
    "lock": "lock:",  # string + name: its owner's token, expires; also the channel of its release
    "fences": "fences",  # counter: fencing numbers of all locks
    # channels: hints and numbered deltas, never the only copy of anything
    "events": "events:",  # channel + task id: one message per event, with its predecessor's id
    "changes": "changes:",  # channel + user id: {"task_id": …} when that user's task changed
    "changes_all": "changes",  # channel: the same for every task
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
