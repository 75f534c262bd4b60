"""Reads the commands that processes send each other on the commands channel."""

from __future__ import annotations

import json
import logging

log = logging.getLogger(__name__)


def task_to_stop(message: str) -> str:
    """Return the id of the task that the command says to stop; empty for any other message."""
    try:
        command = json.loads(message)
        return str(command["task_id"]) if command["action"] == "stop" else ""
    except (ValueError, KeyError, TypeError):
        log.warning("command_ignored reason=malformed")
        return ""
