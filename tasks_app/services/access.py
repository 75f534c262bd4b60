"""Which rights a user has over tasks: the one place that turns a user into a viewer."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User

from tasks_app.domain.records import Viewer

VIEW = "tasks_app.view_task"
CHANGE = "tasks_app.change_task"
DELETE = "tasks_app.delete_task"


def viewer_for(user: User | AnonymousUser) -> Viewer:
    """Return what the user may see and act on; staff's permissions may be read from the database.

    Staff with `view_task` see all tasks, and act on all of them with `change_task` besides;
    a superuser does both; everyone else has their own tasks only.
    """
    if user.is_staff or user.is_superuser:
        views = user.has_perm(VIEW)
        return _viewer(user, view_all=views, change_all=views and user.has_perm(CHANGE))
    return _viewer(user, view_all=False, change_all=False)


def may_delete(user: User | AnonymousUser) -> bool:
    """Return whether the user may remove finished tasks, whosesoever they are."""
    return viewer_for(user).can_view_all and user.has_perm(DELETE)


async def aviewer_for(user: User | AnonymousUser) -> Viewer:
    """Do as `viewer_for` without blocking the loop, and without a thread where none is needed."""
    if user.is_staff or user.is_superuser:
        return await sync_to_async(viewer_for)(user)
    return viewer_for(user)


def _viewer(user: User | AnonymousUser, *, view_all: bool, change_all: bool) -> Viewer:
    return Viewer(
        user_id="" if user.pk is None else str(user.pk),
        username=user.get_username(),
        can_view_all=view_all,
        can_change_all=change_all,
    )
