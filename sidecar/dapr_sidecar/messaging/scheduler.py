"""The scheduler service's instances: which there are, and calls to them in turn."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from google.protobuf.message import DecodeError, Message

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.wire import frame
from dapr_common.observe.logs import get_logger
from dapr_common.wire.dapr.proto.scheduler.v1 import scheduler_pb2 as pb

_LOG = get_logger("dapr.runtime.scheduler")
SERVICE = "/dapr.proto.scheduler.v1.Scheduler/"
_CALL_SECONDS = 30.0
_PING_SECONDS, _PING_TIMEOUT = 3.0, 5.0
_CONNECT_SECONDS = 5.0
_AGAIN_SECONDS = (0.5, 1.5)
_RETRY_SECONDS = 0.2


class SchedulerSecurity(Protocol):
    """Mutual TLS towards the scheduler."""

    def client_context(self) -> ssl.SSLContext:
        """The context of new connections, with the newest certificate."""
        ...

    def verify_scheduler(self, peer: ssl.SSLObject) -> None:
        """Raise when the peer is not this control plane's scheduler."""
        ...


class SchedulerHosts:
    """Follows the list of instances that any of them gives. ``run`` it until the sidecar stops."""

    def __init__(
        self,
        addresses: Sequence[str],
        security: SchedulerSecurity | None,
        *,
        connected: Callable[[], None] = lambda: None,
    ) -> None:
        self.connected = connected
        """Called once the instances are known."""
        self.changed: Callable[[], None] = lambda: None
        """Called when they are others than before."""
        self._configured = tuple(addresses)
        self._security = security
        self._channels: dict[str, GrpcChannel] = {}
        self._known = asyncio.Event()
        self._turn = 0

    @property
    def addresses(self) -> list[str]:
        """The instances, once they are known."""
        return sorted(self._channels)

    def channel(self, address: str) -> GrpcChannel | None:
        """The connection to one of them; ``None`` when it is none any more."""
        return self._channels.get(address)

    async def call(self, method: str, request: Message, response_type: type[Message]) -> Any:
        """Ask one instance; waits for a connection, 30 s in all. Raises ``RpcError``."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + _CALL_SECONDS
        failure = RpcError(GrpcCode.DEADLINE_EXCEEDED, "context deadline exceeded")
        while (left := ends - loop.time()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._known.wait()
            except TimeoutError:
                break
            try:
                result = await self._next().unary(
                    SERVICE + method, request, response_type, timeout=max(ends - loop.time(), 0.001)
                )
            except RpcError as error:
                if error.code is not GrpcCode.UNAVAILABLE:
                    raise
                failure = error  # another one may be there
                await asyncio.sleep(min(_RETRY_SECONDS, max(ends - loop.time(), 0)))
            else:
                return result.message
        raise failure

    async def run(self) -> None:
        """Keep the list up to date."""
        failure = ""
        try:
            while True:
                address = random.choice(self._configured)  # noqa: S311 - spreads the load
                try:
                    await self._follow(address)
                    failure = ""
                except (RpcError, OSError, DecodeError, UnicodeError) as error:
                    text = f"{address}: {error or type(error).__name__}"
                    level = _LOG.debug if text == failure else _LOG.warning
                    level("the scheduler's instances cannot be read, trying again: %s", text)
                    failure = text
                await asyncio.sleep(random.uniform(*_AGAIN_SECONDS))  # noqa: S311 - a pause
        finally:
            await self._close()

    async def _follow(self, address: str) -> None:
        channel = self._connect(address)
        try:
            request = frame(pb.WatchHostsRequest().SerializeToString())
            async with await channel.open(SERVICE + "WatchHosts", frames=request) as call:
                async for raw in call:
                    hosts = pb.WatchHostsResponse.FromString(raw).hosts
                    await self._take([host.address for host in hosts])
        except RpcError as error:
            if error.code is not GrpcCode.UNIMPLEMENTED:
                raise
            # An old one that cannot tell: those that were configured are all there are.
            await self._take(self._configured)
            await asyncio.Event().wait()
        finally:
            await channel.close()

    async def _take(self, addresses: Sequence[str]) -> None:
        wanted = set(addresses)
        gone = [self._channels.pop(a) for a in list(self._channels) if a not in wanted]
        new = [address for address in wanted if address not in self._channels]
        for address in new:
            self._channels[address] = self._connect(address)
        if self._channels:
            self._known.set()
            self.connected()
        else:
            self._known.clear()
        if gone or new:
            _LOG.info("scheduler instances: %s", ", ".join(self.addresses) or "none")
            self.changed()
        for channel in gone:
            await channel.close()

    def _next(self) -> GrpcChannel:
        self._turn += 1
        channels = list(self._channels.values())
        return channels[self._turn % len(channels)]

    def _connect(self, address: str) -> GrpcChannel:
        security = self._security
        return GrpcChannel(
            address,
            ssl=None if security is None else security.client_context(),
            verify_peer=None if security is None else security.verify_scheduler,
            ping_interval=_PING_SECONDS,
            ping_timeout=_PING_TIMEOUT,
            connect_timeout=_CONNECT_SECONDS,
        )

    async def _close(self) -> None:
        channels = list(self._channels.values())
        self._channels.clear()
        self._known.clear()
        for channel in channels:
            await channel.close()
