"""What generation keeps in Redis works on one server, with Sentinels and on a Cluster alike."""

from __future__ import annotations

import time

import pytest

from tasks_app.generation import shared_models
from tasks_app.generation.providers import ModelInfo
from tasks_app.store.allowance import Limits, charge_tokens, take_request

pytestmark = pytest.mark.usefixtures("engine_there")


async def test_limits_are_counted() -> None:
    limits = Limits(requests=1, tokens=100)
    assert await take_request("7", limits) == 0
    assert await take_request("7", limits) > 0
    await charge_tokens("8", limits, 200)
    assert await take_request("8", limits) > 0


async def test_models_are_shared() -> None:
    model = ModelInfo(id="m", provider="p", type="local", owned_by="o")
    await shared_models.replace(shared_models.merged({}, [("p", [model])], time.time()))
    assert await shared_models.read_models() == {"m": model}
