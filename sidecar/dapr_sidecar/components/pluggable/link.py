"""The connection to a pluggable component, and to every process that takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import Message

from dapr_common.errors import GrpcCode
from dapr_common.grpc.backoff import Backoff
from dapr_common.grpc.client import Call, GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.components.v1 import common_pb2
from dapr_sidecar.components.pluggable.errors import translated
from dapr_sidecar.components.pluggable.services import Service

_LOG = get_logger("dapr.runtime.pluggable")
CALL_SECONDS = 60.0
_INIT_SECONDS = 30.0
_PING_SECONDS = 10.0
_LARGEST_ANSWER = 64 << 20
_MOST_STREAMS = 10_000  # all on one connection: each is a process that must hear of its metadata
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # a socket of this machine costs little to try

M = TypeVar("M", bound=Message)


class _Reached(Backoff):
    """Counts the connections that came about: behind each may be another process."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        super().__init__(_FIRST_PAUSE, _LONGEST_PAUSE)
        self.count = 0

    def reset(self) -> None:
        super().reset()
        self.count += 1


class Link:
    """Calls to the services of one manifest.

    A process that comes up after another knows nothing: before its first call it is told the
    manifest's metadata, as the first one was. Shared by the instances made from the manifest; the
    last one that closes it cuts the connection.
    """

    def __init__(
        self,
        socket: Path,
        component: str,
        properties: Mapping[str, str],
        services: Sequence[Service],
    ) -> None:
        """``services`` are those to initialise; ``properties`` are named as the manifest does."""
        self.socket = socket
        self._component = component
        self._properties = properties
        self._services = services
        self._metadata = (("x-component-instance", component),)
        self._reached = _Reached()
        self._channel = GrpcChannel(
            f"unix:{socket}",
            max_receive_bytes=_LARGEST_ANSWER,
            max_streams_per_connection=_MOST_STREAMS,
            connect_timeout=_INIT_SECONDS,
            backoff=self._reached,
        )
        self._turn = asyncio.Lock()
        self._initialised = 0
        """The connection whose process knows the metadata."""
        self._refusal: RpcError | None = None
        self._again_at = 0.0
        self._pause = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._users = 0

    async def open(self) -> None:
        """Initialise the services. Raises what the component says."""
        self._users += 1
        try:
            await self._make_ready(_INIT_SECONDS)
        except RpcError as error:
            raise translated(error) from error

    async def close(self) -> None:
        """One who opened it needs it no more."""
        self._users -= 1
        if self._users <= 0:
            await self._channel.close()

    async def call(
        self, method: str, request: Message, answer: type[M], *, seconds: float = CALL_SECONDS
    ) -> M:
        """One answer. Raises ``RpcError``, or what ``translated`` makes of it."""
        try:
            if not self._is_ready:
                await self._make_ready(seconds)
            done = await self._channel.unary(
                method, request, answer, metadata=self._metadata, timeout=seconds
            )
        except RpcError as error:
            raise translated(error) from error
        found: M = done.message
        return found

    async def stream(self, method: str) -> Call:
        """A stream that lasts. Raises ``RpcError``."""
        if not self._is_ready:
            await self._make_ready(CALL_SECONDS)
        return await self._channel.open(method, self._metadata)

    async def back(self, seconds: float) -> None:
        """Wait until the component serves. Raises why it does not by then."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            try:
                return await self._make_ready(_INIT_SECONDS)
            except RpcError:
                if loop.time() >= until:
                    raise
            await asyncio.sleep(_LONGEST_PAUSE)

    async def ping(self) -> None:
        """Raise when one of the services is not well."""
        for service in self._services:
            await self.call(
                service.method("Ping"),
                common_pb2.PingRequest(),
                common_pb2.PingResponse,
                seconds=_PING_SECONDS,
            )

    # --- readiness --------------------------------------------------------------------------

    @property
    def _is_ready(self) -> bool:
        return self._is_initialised and not self._turn.locked()

    @property
    def _is_initialised(self) -> bool:
        """True, too, while a connection is being made: that is done in turn."""
        return self._channel.connected and self._initialised == self._reached.count

    async def _make_ready(self, seconds: float) -> None:
        """Until it returns, nobody's calls reach a process that does not know the metadata."""
        try:
            async with asyncio.timeout(seconds), self._turn:
                while not self._is_initialised:
                    await self._initialise()
        except TimeoutError:
            text = f"{self.socket.name} does not answer: no Init within {seconds:g}s"
            raise RpcError(GrpcCode.DEADLINE_EXCEEDED, text) from None

    async def _initialise(self) -> None:
        loop = asyncio.get_running_loop()
        if self._refusal is not None and loop.time() < self._again_at:
            raise self._refusal.with_traceback(None)
        again = self._initialised > 0
        try:
            made = 0
            for service in self._services:
                request = service.init_request(self._properties)
                await self._channel.unary(
                    service.method("Init"), request, metadata=self._metadata, timeout=_INIT_SECONDS
                )
                made = made or self._reached.count
        except RpcError as error:
            self._refusal, self._again_at = error, loop.time() + self._pause.next()
            raise
        self._refusal = None
        self._pause.reset()
        self._initialised = made  # one that went meanwhile has another number
        if again:
            _LOG.info("component %s: %s is there again", self._component, self.socket.name)
