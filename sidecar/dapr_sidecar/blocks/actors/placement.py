"""The way to placement: finds a server that serves, comes back, lets go when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol

from google.protobuf.message import DecodeError

from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.observe.logs import get_logger
from dapr_sidecar.blocks.actors.ownership import PlacementView
from dapr_sidecar.blocks.actors.placement_addresses import PlacementSettings
from dapr_sidecar.blocks.actors.placement_bounds import PlacementBounds
from dapr_sidecar.blocks.actors.placement_stream import PlacementStream, Reports, StreamEndError
from dapr_sidecar.blocks.actors.rounds import RoundError
from dapr_sidecar.context import SidecarContext

_LOG = get_logger("dapr.runtime.actors.placement")
_METHOD = "/dapr.proto.placement.v1.Placement/ReportDaprStatus"
_CONNECT_SECONDS = 5.0
_PING_TIMEOUT = 4.0
_HALT_SECONDS = 5.0
_REDIAL_SECONDS = (0.25, 0.75)
_MAX_TABLE_BYTES = 256 << 20
_TOO_MANY_PINGS = "too many pings"


class PlacementSecurity(Protocol):
    """Mutual TLS towards placement."""

    def client_context(self) -> ssl.SSLContext:
        """The context of new connections, with the newest certificate."""
        ...

    def verify_placement(self, peer: ssl.SSLObject) -> None:
        """Raise when the peer is not this control plane's placement."""
        ...


_LOSSES = (RpcError, RoundError, StreamEndError, DecodeError, OSError, UnicodeError)
"""What ends an attempt; a name that no resolver can take is a ``UnicodeError``."""

NextAddress = Callable[[], Awaitable[str]]


class PlacementClient:
    """Runs until cancelled. ``report`` may be called at any time."""

    def __init__(
        self,
        context: SidecarContext,
        view: PlacementView,
        settings: PlacementSettings,
        next_address: NextAddress,
        security: PlacementSecurity | None,
        *,
        connected: Callable[[], None] = lambda: None,
    ) -> None:
        self._context = context
        self._view = view
        self._settings = settings
        self._next_address = next_address
        self._security = security
        self._connected = connected
        self._reports = Reports()
        self._halting: asyncio.Task[None] | None = None
        self._pings = True
        self._failure = ""
        view.named(settings.name)

    def report(self) -> None:
        """What is hosted here has changed. Each change is told, one that is undone as well."""
        self._reports.put(self._view.hosted)

    async def run(self) -> None:
        """Keep a stream to placement."""
        try:
            while True:
                await self._attempt(await self._next_address())
                await asyncio.sleep(random.uniform(*_REDIAL_SECONDS))  # noqa: S311 - a pause
        finally:
            self._lost()
            await self._halted()

    async def _attempt(self, address: str) -> None:
        channel = self._channel(address)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                call = await channel.open(_METHOD)
            self._reports.clear()
            stream = PlacementStream(
                self._context,
                self._view,
                self._settings.name,
                call,
                halted=self._halted,
                heard=self._heard,
            )
            await stream.converse(self._reports, self._connected)
        except _LOSSES as error:
            self._explain(address, error)
        finally:
            self._lost()
            await channel.close()

    def _heard(self) -> None:
        self._failure = ""

    def _channel(self, address: str) -> GrpcChannel:
        security = self._security
        return GrpcChannel(
            address,
            ssl=None if security is None else security.client_context(),
            verify_peer=None if security is None else security.verify_placement,
            max_receive_bytes=_MAX_TABLE_BYTES,
            connect_timeout=_CONNECT_SECONDS,
            ping_interval=PlacementBounds().ping if self._pings else None,
            ping_timeout=_PING_TIMEOUT,
            ping_always=self._pings,
        )

    def _explain(self, address: str, error: Exception) -> None:
        if _TOO_MANY_PINGS in str(error).lower().replace("_", " "):
            # Then its own pings, which come every other second, have to do.
            self._pings = False
        text = f"{address}: {error or type(error).__name__}"
        level = _LOG.debug if text == self._failure else _LOG.warning
        level("the stream to placement ended, trying the next address: %s", text)
        self._failure = text

    # --- loss -------------------------------------------------------------------------------

    def _lost(self) -> None:
        """Nothing is owned any more. Everybody lets go while the next stream is looked for."""
        if not self._view.connected:
            return
        types, earlier = self._view.lost(), self._halting
        self._halting = asyncio.create_task(self._halt(types, earlier), name="halt-actors")

    async def _halt(self, types: frozenset[str], earlier: asyncio.Task[None] | None) -> None:
        await self._view.leaving(types)
        if earlier is not None:
            await earlier

    async def _halted(self) -> None:
        """Wait until what the last stream gave was let go, for a bounded time."""
        halting, self._halting = self._halting, None
        if halting is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HALT_SECONDS):
                await halting
