"""The first superuser: made once, so that somebody can sign in after the first start."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who can sign in, and the password if it was generated just now."""

    username: str
    password: str = ""
    made: bool = False

    def sentence(self) -> str:
        if not self.username:
            return "Nobody can administer this yet: manage.py createsuperuser"
        if self.password:
            return (
                f"Sign in as {self.username} with the password {self.password} "
                f"(shown only now; change it: manage.py changepassword {self.username})"
            )
        if self.made:
            return f"Sign in as {self.username} with the password in DJANGO_SUPERUSER_PASSWORD"
        return (
            f"Sign in as {self.username}: use the password from the first start, "
            f"or: manage.py changepassword {self.username}"
        )


def ensure_superuser() -> SignIn:
    """Return who can sign in; the first time make a superuser.

    Its name, password and e-mail come from the variables that Django's own createsuperuser reads.
    """
    existing = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if existing is not None:
        return SignIn(existing.get_username())
    username = os.environ.get("DJANGO_SUPERUSER_USERNAME", "").strip() or "admin"
    given = os.environ.get("DJANGO_SUPERUSER_PASSWORD", "")
    email = os.environ.get("DJANGO_SUPERUSER_EMAIL", "").strip()
    password = given or secrets.token_urlsafe(12)
    try:
        with transaction.atomic():
            User.objects.create_superuser(username, email, password)
    except IntegrityError:  # the name is an ordinary user's, or another `up` was faster
        exists = User.objects.filter(username=username, is_superuser=True, is_active=True).exists()
        return SignIn(username if exists else "")
    return SignIn(username, "" if given else password, made=True)
