"""The first superuser."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from tasks_app.supervisor.first_run import ensure_superuser

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USERNAME", "PASSWORD", "EMAIL"):
        monkeypatch.delenv(f"DJANGO_SUPERUSER_{name}", raising=False)


def test_the_first_time_a_password_is_made_and_shown() -> None:
    first = ensure_superuser()
    user = User.objects.get()
    assert (first.username, user.username, user.is_superuser) == ("admin", "admin", True)
    assert user.check_password(first.password)
    assert first.password in first.sentence()
    again = ensure_superuser()
    assert again.password == ""
    assert "use the password from the first start, or: manage.py changepassword admin" in (
        again.sentence()
    )
    assert User.objects.count() == 1


def test_two_passwords_differ() -> None:
    first = ensure_superuser().password
    User.objects.all().delete()
    assert ensure_superuser().password != first


def test_the_environment_decides_and_its_password_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "alice")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse")
    monkeypatch.setenv("DJANGO_SUPERUSER_EMAIL", "alice@example.org")
    made = ensure_superuser()
    user = User.objects.get()
    assert (user.username, user.email) == ("alice", "alice@example.org")
    assert user.check_password("correct horse")
    assert "correct horse" not in made.sentence()
    assert "alice" in made.sentence()


def test_a_name_without_a_password_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "alice")
    made = ensure_superuser()
    assert made.username == "alice"
    assert made.password in made.sentence()


def test_an_ordinary_user_of_that_name_is_left_alone() -> None:
    User.objects.create_user("admin", password="mine")
    found = ensure_superuser()
    user = User.objects.get()
    assert not user.is_superuser
    assert user.check_password("mine")
    assert "manage.py createsuperuser" in found.sentence()


def test_whoever_is_there_is_named() -> None:
    User.objects.create_superuser("old", password="x", is_active=False)
    User.objects.create_superuser("boss", password="x")
    assert ensure_superuser().username == "boss"
    assert User.objects.count() == 2
