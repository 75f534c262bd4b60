"""An access function for rooms: `club:…` for staff, `own:<id>` for that user; some go wrong."""

from __future__ import annotations

import asyncio

from django.contrib.auth.models import User


def may_enter(user: User, room: str) -> bool:
    if room.startswith("wrong:"):
        raise LookupError("the function's own trouble")
    kind, _, name = room.partition(":")
    return {"club": user.is_staff, "own": name == str(user.pk)}.get(kind, False)


async def may_enter_async(user: User, room: str) -> bool:
    await asyncio.sleep(0)
    found = await User.objects.filter(pk=user.pk, is_staff=True).aexists()
    return found and room.startswith("club:")


async def never_says(user: User, room: str) -> bool:
    await asyncio.Event().wait()
    return True


class Asked:
    """One that is called, and answers something to await."""

    async def __call__(self, user: User, room: str) -> bool:
        await asyncio.sleep(0)
        return user.is_staff and room == "club:open"


asked = Asked()


def gives_awaitable(user: User, room: str) -> object:
    return may_enter_async(user, room)


ODD = "cannot be called"
