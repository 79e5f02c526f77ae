"""What has to be there before a component can use its broker, as its user would make it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from harness.component_table import Maker

PREPARATIONS: dict[str, Callable[[Maker], Awaitable[None]]] = {}
