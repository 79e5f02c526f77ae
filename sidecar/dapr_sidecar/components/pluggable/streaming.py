"""A stream of deliveries from a pluggable component, as a consumer's session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message as ProtoMessage

from dapr_common.grpc.client import Call
from dapr_common.grpc.errors import RpcError
from dapr_sidecar.components.consuming.receiver import Delivery, Receiver, Session
from dapr_sidecar.components.pluggable.link import Link

_AT_ONCE, _HELD = 100, 200
_PAUSE = 0.2
_BACK_SECONDS = 50.0  # a consumer gives up an attempt to open a session after a minute
_GOODBYE_SECONDS = 2.0

T = TypeVar("T")


@dataclass(slots=True)
class Incoming(Generic[T]):
    """One delivery, and what became of it."""

    id: str
    payload: T
    answer: bytes = b""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Wire(Generic[T]):
    """How a kind speaks: its method, what it says first, what comes, what says that it is done."""

    method: str
    first: ProtoMessage | None
    decode: Callable[[bytes], Incoming[T]]
    encode: Callable[[Incoming[T]], ProtoMessage]


class StreamSession(Generic[T]):
    """One stream. What is not acknowledged on it the component delivers again on another."""

    def __init__(
        self,
        call: Call,
        wire: Wire[T],
        put: Callable[[Delivery[Incoming[T]]], None],
        room: Callable[[], Awaitable[int]],
    ) -> None:
        self._call = call
        self._wire = wire
        self._put = put
        self._room = room
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def ended(self) -> None:
        await asyncio.wait([self._reading])
        if not self._reading.cancelled() and (error := self._reading.exception()) is not None:
            raise error

    async def stop(self) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def close(self) -> None:
        """Acknowledgements that are on their way arrive before the stream is cut."""
        await self.stop()
        async with self._call as call:
            with contextlib.suppress(RpcError, TimeoutError):
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await call.half_close()
                    async for _ in call:
                        pass

    async def _read(self) -> None:
        async for raw in self._call:
            incoming = self._wire.decode(raw)
            self._put(Delivery(incoming, *self._settlers(incoming)))
            await self._room()

    def _settlers(
        self, incoming: Incoming[T]
    ) -> tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]:
        async def settle() -> None:
            await self._call.send(self._wire.encode(incoming))

        return settle, settle


async def receive(
    name: str, link: Link, wire: Wire[T], handler: Callable[[T], Awaitable[bytes | None]]
) -> Receiver[Incoming[T]]:
    """Deliver until closed, over one stream after the other. Raises why the first does not open."""
    first = True

    async def opener(put: Callable[[Delivery[Incoming[T]]], None]) -> Session:
        nonlocal first
        if not first:
            await link.back(_BACK_SECONDS)
        call = await link.stream(wire.method)
        if wire.first is not None:
            await call.send(wire.first)
        first = False
        return StreamSession(call, wire, put, receiver.room)

    async def handle(incoming: Incoming[T]) -> None:
        try:
            incoming.answer = await handler(incoming.payload) or b""
        except Exception as error:
            incoming.failure = str(error) or type(error).__name__
            raise

    receiver: Receiver[Incoming[T]] = Receiver(
        name, opener, handle, concurrency=_AT_ONCE, limit=_HELD, pause=_PAUSE
    )
    await receiver.start()
    return receiver
