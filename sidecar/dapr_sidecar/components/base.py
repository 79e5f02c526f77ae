"""What all components share: construction without I/O, ``open``, ``close``, ``ping``."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class ComponentContext:
    """What the sidecar tells a component about its surroundings."""

    name: str
    app_id: str
    namespace: str = ""
    properties: dict[str, str] = field(default_factory=dict)
    """The manifest's resolved metadata, for components that read names Dapr gives no schema."""


class Component(ABC):
    """Base of every component.

    ``settings`` is a frozen dataclass made of ``metadata.setting`` fields. The constructor does no
    I/O; ``open`` connects or raises with a text that tells the user what to mend; ``close`` may be
    called twice and never raises for a dead peer.
    """

    settings: ClassVar[type[Any]]

    def __init__(self, settings: Any, context: ComponentContext) -> None:
        self._settings = settings
        self._context = context

    async def open(self) -> None:
        """Connect and prepare. Any exception is an init failure."""

    async def close(self) -> None:
        """Release everything; safe to call twice."""

    async def ping(self) -> None:
        """Raise when the component cannot serve now."""
