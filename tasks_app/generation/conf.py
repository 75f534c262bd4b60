"""The providers' settings, read from Django's settings at use."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, replace

import httpx
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from tasks_app.generation.providers import ProviderType


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfig:
    """Where one provider is and how it is asked; neither the key nor the address is printed.

    In seconds: `connect_timeout` until there is a connection, `timeout` until the first token and
    for every silence after it, `total_timeout` for the whole answer (None: ten times `timeout`).
    `number` tells providers with the same host and port apart; the first has 1.
    """

    base_url: str
    key: str
    type: ProviderType
    timeout: float
    connect_timeout: float = 2.0
    total_timeout: float | None = None
    number: int = 1

    @property
    def host(self) -> str:
        url = self._url
        return url.host if url else ""

    @property
    def name(self) -> str:
        """How the provider is called everywhere: host and port, without any credentials."""
        url = self._url
        if url is None:
            return "(invalid address)"
        address = url.netloc.decode() or "(no address)"
        return address if self.number == 1 else f"{address} ({self.number})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be repeated: the key, and what an address may hold of a user's own."""
        secrets = [self.key.strip()]
        if (url := self._url) is not None and url.password:
            basic = b64encode(f"{url.username}:{url.password}".encode())
            secrets += [basic.decode(), url.password]
        return tuple(secret for secret in secrets if secret)

    @property
    def _url(self) -> httpx.URL | None:
        try:
            return httpx.URL(self.base_url)
        except httpx.InvalidURL:
            return None

    def __repr__(self) -> str:
        # An address may hold a password.
        return f"ProviderConfig(name={self.name!r}, type={self.type!r})"


def provider_configs() -> tuple[ProviderConfig, ...]:
    """Return the configured providers in their order; none means the built-in model alone."""
    urls, keys, types = _lists()
    configs = (
        ProviderConfig(
            base_url=url.rstrip("/"),
            key=_pick(keys, index, ""),
            type=_type(_pick(types, index, "external")),
            timeout=settings.PROVIDER_TIMEOUT,
            connect_timeout=settings.PROVIDER_CONNECT_TIMEOUT,
            total_timeout=settings.PROVIDER_TOTAL_TIMEOUT or None,
        )
        for index, url in enumerate(urls)
    )
    met: Counter[str] = Counter()
    return tuple(_numbered(config, met) for config in configs)


def _numbered(config: ProviderConfig, met: Counter[str]) -> ProviderConfig:
    met[config.name] += 1
    return replace(config, number=met[config.name])


# Nobody waits at the other end: a provider that asks for its 30 s gets them, more than once.
BACKGROUND_RETRY_SECONDS = 120.0


def retry_budget() -> float:
    """Return the seconds within which all retries of a synchronous provider call must start."""
    return float(settings.PROVIDER_RETRY_SECONDS)


def _lists() -> tuple[list[str], list[str], list[str]]:
    return settings.OPENAI_API_BASE_URL, settings.OPENAI_API_KEY, settings.OPENAI_API_TYPE


def _pick(values: list[str], index: int, default: str) -> str:
    # A provider without a key of its own gets none: a key is never shown to another provider.
    return values[index] if index < len(values) else default


def _type(value: str) -> ProviderType:
    if value == "local":
        return "local"
    if value == "external":
        return "external"
    raise ImproperlyConfigured(f"OPENAI_API_TYPE: {value!r} is neither 'external' nor 'local'.")
