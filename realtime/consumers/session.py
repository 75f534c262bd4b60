"""One signed-in socket: what it may do, the tasks it follows, its rooms and its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from realtime import auth, conf
from realtime.consumers.feed import Feed
from realtime.consumers.guest import RoomGuest
from realtime.domain import close_codes, limits, messages
from realtime.domain.calls import Question, new_session_id
from realtime.domain.messages import (
    CallReply,
    ClientFrame,
    FrameError,
    RoomJoin,
    RoomLeave,
    RoomSend,
    TaskStop,
    TaskSubscribe,
    TaskUnsubscribe,
    Usage,
    UserJoin,
)
from realtime.outbox import Outbox
from realtime.rooms.registry import Rooms
from realtime.rooms.task import TaskRoom
from realtime.scope import Message
from realtime.services.asked import Asked
from realtime.services.membership import Membership, TooManyModels
from tasks_app import api
from tasks_app.errors import TaskNotFound

Answer = dict[str, Any]


class Session:
    """One user's one connection. Every action reads the user's rights anew."""

    def __init__(
        self,
        identity: auth.Identity,
        credential: auth.Credential,
        outbox: Outbox,
        rooms: Rooms,
        close: Callable[[int], None],
    ) -> None:
        self.id = new_session_id(rooms.instance)
        self.identity = identity
        self.credential = credential
        self._outbox = outbox
        self._close = close
        self._membership = Membership(self.id, identity.user_id, identity.name)
        self._rooms = rooms
        self.guest = RoomGuest(identity, outbox, rooms)
        self._calls = Asked(self.id, outbox)
        self._feeds: dict[str, Feed] = {}
        self._actions: dict[type[ClientFrame], Callable[[Any], Awaitable[Answer]]] = {
            UserJoin: self._join,
            TaskSubscribe: self._subscribe,
            TaskUnsubscribe: self._unsubscribe,
            TaskStop: self._stop,
            RoomJoin: self.guest.join,
            RoomLeave: self.guest.leave,
            RoomSend: self.guest.send,
            CallReply: self._calls.reply,
        }

    async def register(self) -> None:
        """Enter the session pool."""
        await self._membership.register()

    @property
    def card(self) -> Answer:
        return {"id": self.identity.user_id, "name": self.identity.name, "session_id": self.id}

    def push(self, message: Message) -> None:
        self._outbox.push(message)

    def ask(self, question: Question) -> bool:
        """Show a question to the client; False when too many wait for an answer already."""
        return self._calls.ask(question)

    def heartbeat(self, ack: int | None) -> None:
        """Answer at once, also while Redis is away: what comes late is made up by the next one."""
        self._membership.keep_alive()
        self.acknowledge(ack, {})

    async def handle(self, frame: ClientFrame, ack: int | None) -> None:
        """Do what a frame asks for and answer it; raises FrameError or the engine's errors."""
        if isinstance(frame, Usage):
            await self._use(frame, ack)
            return
        answer = await self._actions[type(frame)](frame)
        self.acknowledge(ack, answer)
        # After the acknowledgement, so that it comes before the first event.
        if isinstance(frame, TaskSubscribe):
            self._feeds[frame.task_id].start(frame.last_event_id)
        elif isinstance(frame, RoomJoin):
            self.guest.welcome(frame.room)

    async def recheck(self, identity: auth.Identity | None) -> None:
        """Close when the credential is no longer this user's, or the user's standing has changed.

        Else drop the feeds that became forbidden.
        """
        if identity is not None and self.identity.is_outdated_by(identity):
            # The client may come back at once, and is then served as who it is now.
            self._close(close_codes.RESTARTING)
            return
        if identity is None or identity.user_id != self.identity.user_id:
            self._close(close_codes.NOT_SIGNED_IN)
            return
        foreign = [feed for feed in self._feeds.values() if feed.owner_id != identity.user_id]
        viewer = await auth.viewer(identity) if foreign else None
        if viewer is not None and not viewer.can_view_all:
            for feed in foreign:
                await self._drop(feed.task_id)
                feed.report("not_found", "You may no longer see this task.")

    async def aclose(self) -> None:
        # Together: each of them may wait for Redis, and the server does not wait for us for long.
        await asyncio.gather(
            self._membership.leave(),
            self.guest.aclose(),
            self._calls.aclose(),
            *(self._drop(task_id) for task_id in tuple(self._feeds)),
        )

    def acknowledge(self, ack: int | None, data: Answer) -> None:
        if ack is not None:
            self.push({"type": "websocket.send", "text": messages.encode("ack", data, ack)})

    async def _viewer(self) -> api.Viewer:
        viewer = await auth.viewer(self.identity)
        if viewer is None:
            raise FrameError(
                "not_signed_in",
                "Your account has been deactivated.",
                close_code=close_codes.NOT_SIGNED_IN,
            )
        return viewer

    async def _use(self, frame: Usage, ack: int | None) -> None:
        now = asyncio.get_running_loop().time()
        try:
            written = self._membership.use(frame.model, now, conf.usage_timeout_seconds())
        except TooManyModels:
            raise FrameError(
                "rate_limited", f"A session uses at most {limits.MAX_MODELS} models at once."
            ) from None
        if ack is not None:  # else nobody waits: the next ping makes up for a lost one
            await asyncio.shield(written)
            self.acknowledge(ack, {})

    async def _join(self, frame: UserJoin) -> Answer:
        if frame.auth is not None:
            identity = await auth.identify(auth.Token(frame.auth.token))
            if identity is None:
                raise FrameError(
                    "not_signed_in", "This token is not valid; the socket stays yours."
                )
            if identity.user_id != self.identity.user_id:
                raise FrameError("conflict", "This socket belongs to another user: open a new one.")
        self._membership.keep_alive()
        return self.card

    async def _subscribe(self, frame: TaskSubscribe) -> Answer:
        task = await self._visible(frame.task_id)
        await self._drop(task.id)
        most = conf.limit("subscriptions")
        if len(self._feeds) >= most:
            raise FrameError(
                "rate_limited", f"At most {most} tasks are followed at once; unsubscribe one."
            )
        feed = self._feeds[task.id] = Feed(task.id, task.user_id, self._outbox, self._over)
        try:
            await self._rooms.find(TaskRoom, task.id).join(feed)
        except BaseException:
            await self._drop(task.id)
            raise
        return {"task_id": task.id}

    async def _visible(self, task_id: str) -> api.Task:
        viewer = await self._viewer()
        for task in await api.summaries([task_id]):
            if viewer.may_see(task.user_id):
                return task
        raise TaskNotFound

    async def _unsubscribe(self, frame: TaskUnsubscribe) -> Answer:
        await self._drop(frame.task_id)
        return {"task_id": frame.task_id}

    async def _stop(self, frame: TaskStop) -> Answer:
        viewer = await self._viewer()
        by = self.identity.name
        if frame.task_id is not None:
            task = await api.stop_task(frame.task_id, by=by, viewer=viewer)
            return task.resource(with_result=False)
        assert frame.item_id is not None  # noqa: S101 the schema demands one of the two
        return {"task_ids": await api.stop_item(frame.item_id, by=by, viewer=viewer)}

    async def _drop(self, task_id: str) -> None:
        feed = self._feeds.pop(task_id, None)
        if feed is not None:
            await feed.aclose()
            await self._rooms.leave(self._rooms.find(TaskRoom, task_id), feed)

    def _over(self, feed: Feed) -> None:
        if self._feeds.get(feed.task_id) is feed:
            del self._feeds[feed.task_id]
            self._rooms.leave_soon(self._rooms.find(TaskRoom, feed.task_id), feed)
