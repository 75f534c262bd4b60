"""What another app needs to add operations to the REST API, which REST_ROUTERS then names."""

from __future__ import annotations

from tasks_app.rest.auth import Caller, caller_of
from tasks_app.rest.errors import ApiError
from tasks_app.rest.schemas import ERRORS, TaskResource, Writable

__all__ = ["ERRORS", "ApiError", "Caller", "TaskResource", "Writable", "caller_of"]
