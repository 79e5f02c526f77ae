"""Bindings: events into the app, operations out of it. One class may be both."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from dapr_sidecar.components.base import Component

_EMPTY: Mapping[str, str] = {}


@dataclass(slots=True)
class InvokeRequest:
    """One output operation."""

    operation: str
    data: bytes
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)


@dataclass(slots=True)
class InvokeResponse:
    """What an operation answered."""

    data: bytes = b""
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)


class InvokeError(Exception):
    """An operation failed but has metadata to hand back with the error."""

    def __init__(self, message: str, metadata: Mapping[str, str]) -> None:
        super().__init__(message)
        self.metadata = metadata


class OutputBinding(Component):
    """A binding that performs operations."""

    operations: ClassVar[tuple[str, ...]]

    @abstractmethod
    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None: ...

    def check_operation(self, request: InvokeRequest) -> None:
        """Raise ``ValueError`` for an operation that is none of the binding's."""
        if request.operation not in self.operations:
            raise ValueError(f"invalid operation type: {request.operation}")


@dataclass(slots=True)
class Event:
    """One input event."""

    data: bytes
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)


EventHandler = Callable[[Event], Awaitable[bytes | None]]
"""Returns the app's answer; raises when the app did not take the event."""


class InputBinding(Component):
    """A binding that delivers events until it is stopped."""

    @abstractmethod
    async def start(self, handler: EventHandler) -> None:
        """Begin delivering; returns once it listens."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop delivering and wait for running handlers; may be started again."""
