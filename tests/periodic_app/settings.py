"""The project's settings with this app installed."""

from __future__ import annotations

import os
import time

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS as PROJECT_APPS

INSTALLED_APPS = [*PROJECT_APPS, "tests.periodic_app"]

# A machine whose clock is wrong, as far as a process can pretend it.
OFFSET = float(os.environ.get("WRONG_CLOCK_SECONDS", "0"))
if OFFSET:
    true_time = time.time
    time.time = lambda: true_time() + OFFSET
