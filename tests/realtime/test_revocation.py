"""Each cause of a revocation closes the user's sockets on every instance, and nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import pytest
from websockets.exceptions import ConnectionClosed

from tests.realtime.client import Client, dial
from tests.realtime.site import Account, Server, Site

FINAL, COME_BACK = 4401, 1012


@dataclass(frozen=True)
class Cause:
    """What happens to `user`, and how it closes a socket of theirs by cookie and by token.

    None: that socket stays.
    """

    change: str
    by_cookie: int | None
    by_token: int | None


CAUSES = {
    "token deleted": Cause("ApiToken.objects.get(user=user).delete()", None, FINAL),
    "tokens deleted by a query": Cause("user.api_tokens.all().delete()", None, FINAL),
    "token expired": Cause(
        "token = ApiToken.objects.get(user=user); token.expires_at = now(); token.save()",
        None, FINAL,
    ),
    "deactivated": Cause("user.is_active = False; user.save()", FINAL, FINAL),
    "deleted": Cause("user.delete()", FINAL, FINAL),
    # The token has nothing to do with the password: it comes back with it.
    "new password": Cause("user.set_password('another-long-word'); user.save()", FINAL, COME_BACK),
    "signed out": Cause("Session.objects.get(session_key=key).delete()", FINAL, None),
    "signed out by the page": Cause(
        "client = Client(); client.cookies['sessionid'] = key; "
        "assert client.post('/accounts/logout/', headers={'host': 'localhost'}).status_code == 302",
        FINAL, None,
    ),
    "into a group": Cause("user.groups.add(Group.objects.create(name=key))", COME_BACK, COME_BACK),
    "out of a group": Cause("user.groups.clear()", COME_BACK, COME_BACK),
    "group emptied": Cause("user.groups.get().user_set.clear()", COME_BACK, COME_BACK),
    "group deleted": Cause("user.groups.get().delete()", COME_BACK, COME_BACK),
    # Rights are read anew at each action, so these close nothing.
    "renamed": Cause("user.first_name = 'Ada'; user.save()", None, None),
    "permission given": Cause(
        "user.user_permissions.add(Permission.objects.get(codename='view_task'))", None, None
    ),
}  # fmt: skip
IN_A_GROUP = {"out of a group", "group emptied", "group deleted"}

HEAD = """
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils.timezone import now
"""


def code_for(cause: str, account: Account) -> str:
    return f"""
user, key = User.objects.get(pk={account.id}), {account.session_key!r}
{CAUSES[cause].change}
"""


async def closing(client: Client) -> int | None:
    """Return the code that the socket is closed with, None if it stays."""
    try:
        # Asked of this socket after the hint was published; its answer comes after the look.
        async with asyncio.timeout(3):
            while True:
                client.frames.append(await client.wait_for(lambda _: True))
    except TimeoutError:
        assert await client.is_alive()
        return None
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 0


@pytest.mark.parametrize("batch", ["one by one", "many at once"])
async def test_each_cause_closes_the_users_sockets_on_every_instance(
    servers: dict[str, Server], site: Site, batch: str
) -> None:
    # Deleting or emptying a group is announced as anybody's change and would hide what is not
    # announced at all: apart.
    apart = {"group emptied", "group deleted"}
    causes = [name for name in CAUSES if (name in apart) == (batch == "many at once")]
    accounts = {name: site.account() for name in causes}
    grouped = "".join(
        f"User.objects.get(pk={account.id}).groups.add(Group.objects.create(name={name!r}))\n"
        for name, account in accounts.items()
        if name in IN_A_GROUP
    )
    await asyncio.to_thread(site.django, HEAD + grouped)
    bystander = site.account()
    async with contextlib.AsyncExitStack() as stack:

        async def sockets(headers: dict[str, str]) -> list[Client]:
            return [
                await stack.enter_async_context(dial(server.url, headers))
                for server in servers.values()
            ]

        by_cookie = {name: await sockets(account.cookie) for name, account in accounts.items()}
        by_token = {name: await sockets(account.bearer) for name, account in accounts.items()}
        safe = await sockets(bystander.bearer)
        for client in [
            *safe,
            *(c for kind in (by_cookie, by_token) for found in kind.values() for c in found),
        ]:
            assert await client.is_alive()
        changes = HEAD + "".join(code_for(name, account) for name, account in accounts.items())
        await asyncio.to_thread(site.django, changes)

        async def verdict(name: str) -> tuple[str, list[int | None], list[int | None]]:
            codes = [
                await asyncio.gather(*map(closing, kind[name])) for kind in (by_cookie, by_token)
            ]
            return name, *codes

        for name, cookie_codes, token_codes in await asyncio.gather(*map(verdict, causes)):
            cause = CAUSES[name]
            assert set(cookie_codes) == {cause.by_cookie}, name
            assert set(token_codes) == {cause.by_token}, name
        assert [await closing(client) for client in safe] == [None, None]


async def test_who_was_closed_for_a_new_group_comes_back(
    servers: dict[str, Server], site: Site
) -> None:
    mine, server = site.account(), servers["uvicorn"]
    join = f"User.objects.get(pk={mine.id}).groups.add(Group.objects.create(name='returning'))"
    async with dial(server.url, mine.bearer) as client:
        assert await client.is_alive()
        await asyncio.to_thread(site.django, HEAD + join)
        assert await client.close_code() == COME_BACK
    async with dial(server.url, mine.bearer) as client:
        assert await client.is_alive()


async def test_what_sends_no_signal_is_found_within_30_seconds(
    servers: dict[str, Server], site: Site
) -> None:
    """A password, a group: by plain SQL."""
    password, group = site.account(), site.account()
    async with contextlib.AsyncExitStack() as stack:
        doomed = [
            await stack.enter_async_context(dial(server.url, headers))
            for server in servers.values()
            for headers in (password.cookie, password.bearer, group.cookie)
        ]
        for client in doomed:
            assert await client.is_alive()
        site.sql("UPDATE auth_user SET password = '!new' WHERE id = ?", password.id)
        site.sql("INSERT INTO auth_group (name) VALUES ('by sql')")
        site.sql(
            "INSERT INTO auth_user_groups (user_id, group_id)"
            " SELECT ?, id FROM auth_group WHERE name = 'by sql'",
            group.id,
        )
        codes = await asyncio.gather(*(client.close_code(within=30) for client in doomed))
        assert codes == [FINAL, COME_BACK, COME_BACK] * len(servers)
