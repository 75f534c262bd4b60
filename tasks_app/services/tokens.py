"""API tokens: made, found again by their hash, revoked."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.utils import timezone

from tasks_app.models import ApiToken

PREFIX_LENGTH = 8
MAX_TOKEN_LENGTH = 200  # of what callers claim to be a token; ours are 48 characters long
MAX_EXPIRES_DAYS = 36_500


def create_token(user: User, name: str = "", expires_days: int = 0) -> str:
    """Store a new token's hash and return the token, which nobody can read again.

    `expires_days=0` means that it never expires.
    """
    if not 0 <= expires_days <= MAX_EXPIRES_DAYS:
        raise ValueError(f"A token may expire after 0 (never) to {MAX_EXPIRES_DAYS} days.")
    token = _new_token()
    expires_at = timezone.now() + timedelta(days=expires_days) if expires_days else None
    ApiToken.objects.create(
        user=user,
        name=name[:100],
        prefix=token[:PREFIX_LENGTH],
        hash=_hash(token),
        expires_at=expires_at,
    )
    return token


async def user_for_token(token: str) -> User | None:
    """Return the active user whose unexpired token this is, else None."""
    if not token or len(token) > MAX_TOKEN_LENGTH:
        return None
    found = await _valid().filter(hash=_hash(token)).afirst()
    return found.user if found else None


def users_for_tokens_sync(tokens: Iterable[str]) -> dict[str, User]:
    """Return, by token, the users of those that `user_for_token` would find, in one query."""
    by_hash = {_hash(token): token for token in tokens if 0 < len(token) <= MAX_TOKEN_LENGTH}
    if not by_hash:
        return {}
    return {by_hash[found.hash]: found.user for found in _valid().filter(hash__in=by_hash)}


def _valid() -> QuerySet[ApiToken]:
    unexpired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    return ApiToken.objects.select_related("user").filter(unexpired, user__is_active=True)


def revoke_token(token_or_prefix: str) -> int:
    """Delete the token, named whole or by its first 8 characters; return how many were deleted."""
    text = token_or_prefix.strip()
    by_prefix = Q(prefix=text) if len(text) == PREFIX_LENGTH else Q(hash=_hash(text))
    # One by one, so that signals tell the sockets that were opened with the token.
    found = list(ApiToken.objects.filter(by_prefix))
    for token in found:
        token.delete()
    return len(found)


def delete_expired(before: datetime) -> int:
    """Delete the tokens that expired before that moment; return how many."""
    deleted, _ = ApiToken.objects.filter(expires_at__lt=before).delete()
    return deleted


def _new_token() -> str:
    """Return a random token whose prefix no other token has (hexadecimal: safe in any header)."""
    while True:
        token = secrets.token_hex(24)
        if not ApiToken.objects.filter(prefix=token[:PREFIX_LENGTH]).exists():
            return token


def _hash(token: str) -> str:
    # A token is random enough that a fast hash without salt cannot be searched backwards.
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
