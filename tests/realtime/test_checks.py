"""The system check of the limits that a project sets."""

from __future__ import annotations

from typing import Any

import pytest

from realtime import checks, conf
from realtime.domain.limits import CONFIGURABLE


@pytest.mark.parametrize(
    "limits",
    [[], 5, None, {"sockets": 5}, {"rooms": 0}, {"rooms": "5"}, {"rooms": True}, {"rooms": 1.5}],
)
def test_limits_that_cannot_work_are_refused(settings: Any, limits: Any) -> None:
    settings.SIGNALBOX_LIMITS = limits
    [error] = checks.check_limits()
    assert error.id == "realtime.E002"
    assert "SIGNALBOX_LIMITS" in error.msg


def test_limits_may_be_set_one_by_one(settings: Any) -> None:
    assert checks.check_limits() == []
    settings.SIGNALBOX_LIMITS = {"rooms": 1}
    assert checks.check_limits() == []
    assert conf.limit("rooms") == 1
    assert conf.limit("subscriptions") == CONFIGURABLE["subscriptions"]
