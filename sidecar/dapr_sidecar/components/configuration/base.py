"""Configuration stores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dapr_sidecar.components.base import Component


@dataclass(slots=True)
class Item:
    """One configuration value; a deleted key is an ``Item`` of empty fields."""

    value: str = ""
    version: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


UpdateHandler = Callable[[Mapping[str, Item]], Awaitable[None]]


class ConfigurationStore(Component):
    """Required of every configuration store."""

    @abstractmethod
    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> dict[str, Item]: ...

    @abstractmethod
    async def subscribe(
        self, keys: Sequence[str], metadata: Mapping[str, str], handler: UpdateHandler
    ) -> str:
        """Watch keys (all when empty); returns the subscription id."""

    @abstractmethod
    async def unsubscribe(self, subscription_id: str) -> None:
        """Raises ``KeyError`` for an id this store does not know."""
