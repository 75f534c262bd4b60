"""The providers' settings, read from Django's settings at use."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from tasks_app.generation.providers import ProviderType


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderConfig:
    """Where one provider is and how it is asked; the key is never printed."""

    base_url: str
    key: str
    type: ProviderType
    timeout: float

    def __repr__(self) -> str:
        return f"ProviderConfig(base_url={self.base_url!r}, type={self.type!r})"


def provider_configs() -> tuple[ProviderConfig, ...]:
    """Return the configured providers in their order; none means the built-in model alone."""
    urls, keys, types = _lists()
    return tuple(
        ProviderConfig(
            base_url=url.rstrip("/"),
            key=_pick(keys, index, ""),
            type=_type(_pick(types, index, "external")),
            timeout=settings.PROVIDER_TIMEOUT,
        )
        for index, url in enumerate(urls)
    )


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
