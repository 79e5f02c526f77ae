"""What the pluggable components of all kinds share."""

from __future__ import annotations

from dataclasses import dataclass
from types import new_class
from typing import Any, ClassVar

from dapr_sidecar.components.base import Component, ComponentContext
from dapr_sidecar.components.pluggable.link import Link


@dataclass(frozen=True, slots=True)
class PluggableSettings:
    """Only the component knows what it takes."""


class Plugged(Component):
    """Base of the classes that are made, one for each manifest, with a ``link`` of their own."""

    settings: ClassVar[type[Any]] = PluggableSettings
    link: ClassVar[Link]

    def __init__(self, settings: Any, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._is_open = False

    async def open(self) -> None:
        self._is_open = True
        await self.link.open()

    async def close(self) -> None:
        if self._is_open:
            self._is_open = False
            await self.link.close()

    async def ping(self) -> None:
        await self.link.ping()


def plugged(bases: tuple[type[Component], ...], link: Link) -> type[Component]:
    """The class of one manifest."""
    names = {"link": link, "__module__": __name__}
    return new_class(bases[0].__name__, bases, exec_body=lambda body: body.update(names))
