"""The seam to whatever generates text: a provider lists its models and streams an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

ProviderType = Literal["local", "external"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """One model: its id, the provider that offers it, and whether it runs on our own machines."""

    id: str
    provider: str
    type: ProviderType
    owned_by: str

    def resource(self) -> dict[str, Any]:
        """Return the entry of `GET /api/v1/models`, in OpenAI's shape."""
        return {
            "id": self.id,
            "object": "model",
            "created": 0,
            "owned_by": self.owned_by,
            "type": self.type,
        }


class Provider(Protocol):
    """Lists models and streams answers; built for one event loop."""

    name: str

    async def models(self) -> list[ModelInfo]:
        """Return the models on offer now; raise ProviderError when it cannot be asked."""
        ...

    def stream(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the answer as OpenAI's `chat.completion.chunk` dicts; raise ProviderError.

        Closing the iterator closes the provider's connection before it returns.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
