"""Closed-loop load over HTTP and gRPC: each connection has one request under way."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, Protocol

import httptools

from benchmarks.app import EchoApp
from benchmarks.programs import BenchmarkError
from dapr_common.grpc.client import GrpcChannel, Metadata
from dapr_common.grpc.errors import RpcError

_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Shape:
    """``32`` is so many connections with one call each, ``1x32`` one connection with 32 calls."""

    connections: int
    calls: int = 1

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Raises ``ValueError``."""
        connections, _, calls = text.partition("x")
        shape = cls(int(connections), int(calls or 1))
        if shape.connections < 1 or shape.calls < 1:
            raise ValueError(f"{text!r}: expected a number of connections such as 32, or 1x32")
        return shape

    def __str__(self) -> str:
        return str(self.connections) if self.calls == 1 else f"{self.connections}x{self.calls}"


@dataclass(slots=True)
class Tally:
    """What one run of load saw; latencies in seconds."""

    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    first_failure: str = ""
    seconds: float = 0.0

    def fail(self, text: str) -> None:
        """Count a call that went wrong."""
        self.failures += 1
        self.first_failure = self.first_failure or text

    def quantile(self, share: float) -> float:
        """Seconds within which this share of the calls was done."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


class Load(Protocol):
    """Something that can be kept busy for a while."""

    async def run(self, seconds: float) -> Tally: ...

    async def close(self) -> None: ...


# --- HTTP ---------------------------------------------------------------------------------------


class HttpLoad:
    """Sends prepared requests in turn over each connection."""

    def __init__(self, port: int, shape: Shape, requests: Sequence[bytes]) -> None:
        self._port = port
        self._connections: list[_Connection] = []
        self._sources: list[Iterator[bytes]] = [
            itertools.cycle([*requests[start:], *requests[:start]])
            for start in (slot % len(requests) for slot in range(shape.connections))
        ]

    async def connect(self) -> None:
        """Open the connections. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        for slot, source in enumerate(self._sources):
            connection = self._make(slot, source)
            await loop.create_connection(partial(_same, connection), "127.0.0.1", self._port)
            self._connections.append(connection)

    def _make(self, slot: int, source: Iterator[bytes]) -> _Connection:
        return _Connection(source)

    async def run(self, seconds: float) -> Tally:
        """Keep every connection busy, then wait for the last answers."""
        tally = Tally()
        started = perf_counter()
        waiters = [each.start(tally, started + seconds) for each in self._connections]
        _, late = await asyncio.wait(waiters, timeout=seconds + _GRACE_SECONDS)
        if late:
            raise BenchmarkError(
                f"{len(late)} of {len(waiters)} calls got no answer. {tally.first_failure}"
            )
        for waiter in waiters:
            waiter.result()
        tally.seconds = perf_counter() - started
        return tally

    async def close(self) -> None:
        """Close the connections."""
        for connection in self._connections:
            connection.close()


def _same(connection: _Connection) -> _Connection:
    return connection


class _Connection(asyncio.Protocol):
    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._parser: Any = httptools.HttpResponseParser(self)
        self._transport: Any = None
        self._tally = Tally()
        self._deadline = self._sent = 0.0
        self._waiter: asyncio.Future[None] | None = None

    def start(self, tally: Tally, deadline: float) -> asyncio.Future[None]:
        self._tally, self._deadline = tally, deadline
        self._waiter = asyncio.get_running_loop().create_future()
        self._send()
        return self._waiter

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(BenchmarkError(f"the peer closed a connection: {exc}"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if not 200 <= status < 300:
            self._tally.fail(f"HTTP status {status}")
        self._done()

    def _send(self) -> None:
        self._sent = perf_counter()
        self._transport.write(next(self._source))

    def _done(self) -> None:
        now = perf_counter()
        self._tally.latencies.append(now - self._sent)
        if now < self._deadline:
            self._send()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


# --- publish to delivery ------------------------------------------------------------------------


class PublishLoad(HttpLoad):
    """A connection's next event is published when its last one was answered and delivered.

    ``request`` makes the bytes of a publish call from a slot and a number.
    """

    def __init__(
        self, port: int, shape: Shape, request: Callable[[int, int], bytes], app: EchoApp
    ) -> None:
        super().__init__(port, shape, [b""])
        self._request = request
        self._app = app
        self._slots: list[_Publisher] = []

    async def connect(self) -> None:
        await super().connect()
        self._app.delivered = self._delivered

    def _make(self, slot: int, source: Iterator[bytes]) -> _Connection:
        publisher = _Publisher(slot, self._request)
        self._slots.append(publisher)
        return publisher

    def _delivered(self, slot: int, number: int) -> None:
        if slot < len(self._slots):
            self._slots[slot].delivered(number)

    async def close(self) -> None:
        self._app.delivered = None
        await super().close()


class _Publisher(_Connection):
    def __init__(self, slot: int, request: Callable[[int, int], bytes]) -> None:
        # Numbers of an earlier run's late events must not match this run's.
        numbers = itertools.count(int(perf_counter() * 1e6) % 10**9)
        super().__init__(iter(()))
        self._slot = slot
        self._numbers = numbers
        self._request = request
        self._number = 0
        self._missing = 0

    def _send(self) -> None:
        self._number = next(self._numbers)
        self._missing = 2
        self._sent = perf_counter()
        self._transport.write(self._request(self._slot, self._number))

    def delivered(self, number: int) -> None:
        """The app got an event of this slot; a repeated one is ignored."""
        if number == self._number:
            self._number = 0
            self._done()

    def _done(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            super()._done()


# --- gRPC ---------------------------------------------------------------------------------------


class GrpcLoad:
    """Sends one prepared message to one unary method."""

    def __init__(
        self, port: int, shape: Shape, method: str, message: bytes, metadata: Metadata = ()
    ) -> None:
        self._channels = [GrpcChannel(f"127.0.0.1:{port}") for _ in range(shape.connections)]
        self._callers = [channel for channel in self._channels for _ in range(shape.calls)]
        self._method = method
        self._message = message
        self._metadata = metadata

    async def run(self, seconds: float) -> Tally:
        """Keep every stream busy, then wait for the last answers."""
        tally = Tally()
        started = perf_counter()
        async with asyncio.timeout(seconds + _GRACE_SECONDS):
            await asyncio.gather(
                *(self._repeat(each, tally, started + seconds) for each in self._callers)
            )
        tally.seconds = perf_counter() - started
        return tally

    async def _repeat(self, channel: GrpcChannel, tally: Tally, deadline: float) -> None:
        now = perf_counter()
        while now < deadline:
            try:
                await channel.unary(self._method, self._message, metadata=self._metadata)
            except RpcError as error:
                tally.fail(f"{error}")
            done = perf_counter()
            tally.latencies.append(done - now)
            now = done

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels:
            await channel.close()
