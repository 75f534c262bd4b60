"""A client of the API in the test's own loop, with a real provider script, worker and Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.core.asgi import get_asgi_application

from tasks_app.generation.catalog import aclose_catalog
from tasks_app.services import usage
from tasks_app.services.tokens import create_token
from tests.support.fake_provider import FakeProvider

BASE = "http://localhost"


@dataclass
class Person:
    """A user with a token, and a client that carries it."""

    user: User
    token: str
    http: httpx.AsyncClient


def asgi_client(**options: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=get_asgi_application(), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=BASE, timeout=30, **options)


@sync_to_async
def _user(name: str, permissions: tuple[str, ...], **fields: Any) -> tuple[User, str]:
    user = User.objects.create_user(name, password=f"the-{name}-password", **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user, create_token(user)


async def person(name: str, *permissions: str, **fields: Any) -> Person:
    user, token = await _user(name, permissions, **fields)
    return Person(user, token, asgi_client(headers={"Authorization": f"Bearer {token}"}))


@pytest.fixture
async def ada(transactional_db: None, engine: None) -> AsyncIterator[Person]:
    made = await person("ada")
    yield made
    await made.http.aclose()


@pytest.fixture
async def bob(transactional_db: None, engine: None) -> AsyncIterator[Person]:
    made = await person("bob")
    yield made
    await made.http.aclose()


@pytest.fixture
async def warden(transactional_db: None, engine: None) -> AsyncIterator[Person]:
    """Staff who may see all tasks and act on none."""
    made = await person("warden", "view_task", is_staff=True)
    yield made
    await made.http.aclose()


@pytest.fixture
async def chief(transactional_db: None, engine: None) -> AsyncIterator[Person]:
    """Staff who may see and act on all tasks."""
    made = await person("chief", "view_task", "change_task", is_staff=True)
    yield made
    await made.http.aclose()


@pytest.fixture
async def nobody(transactional_db: None, engine: None) -> AsyncIterator[httpx.AsyncClient]:
    async with asgi_client() as client:
        yield client


@pytest.fixture
async def provider(settings: Any) -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as started:
        settings.OPENAI_API_BASE_URL = [started.base_url]
        settings.OPENAI_API_KEY = [""]
        settings.OPENAI_API_TYPE = []
        settings.PROVIDER_RETRY_SECONDS = 1.0
        yield started
        await usage.aclose()  # or it would write while the database is emptied
        await aclose_catalog()
