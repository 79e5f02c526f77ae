"""One client's stream of events, over a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import Call, GrpcChannel
from dapr_common.grpc.context import Context
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import GrpcServer, Method
from dapr_common.grpc.wire import frame
from dapr_common.security.spiffe import SpiffeId
from dapr_operator.streams import MOST_QUEUED, Subscription

ORDERS = SpiffeId("public", "shop", "orders")


@dataclass
class Streams:
    """A server whose streams the test puts events into; each has a connection of its own."""

    port: int
    channels: list[GrpcChannel] = field(default_factory=list)
    opened: asyncio.Queue[Subscription] = field(default_factory=asyncio.Queue)

    async def open(self) -> tuple[Subscription, Call]:
        channel = GrpcChannel(f"127.0.0.1:{self.port}")
        self.channels.append(channel)
        call = await channel.open("/a.A/Follow", frames=frame(b""), timeout=30.0)
        await call.initial_metadata()
        return await self.opened.get(), call


@pytest.fixture
async def streams() -> AsyncIterator[Streams]:
    server = GrpcServer(max_receive_bytes=1 << 20)

    async def follow(_: bytes, context: Context) -> None:
        subscription = Subscription(ORDERS)
        found.opened.put_nowait(subscription)
        await subscription.send_to(context)

    server.add(Method("/a.A/Follow", "unary_stream", None, None, follow))
    found = Streams(await server.listen_tcp("127.0.0.1", 0))
    yield found
    for channel in found.channels:
        await channel.close()
    await server.close(0)


async def test_events_come_in_order(streams: Streams) -> None:
    subscription, call = await streams.open()
    for number in range(100):
        subscription.put(b"%d" % number)
    assert [await anext(call) for _ in range(100)] == [b"%d" % number for number in range(100)]


async def test_who_does_not_read_is_cut_and_nobody_else(streams: Streams) -> None:
    slow, slow_call = await streams.open()
    quick, quick_call = await streams.open()
    events = [b"x" * 100_000] * 100 + [b"y"] * (MOST_QUEUED + 10)
    for event in events:
        slow.put(event)
        quick.put(event)
        assert await anext(quick_call) == event
    with pytest.raises(RpcError) as caught:
        _ = [event async for event in slow_call]
    assert caught.value.code == GrpcCode.RESOURCE_EXHAUSTED
    assert "connect and list again" in caught.value.message


async def test_an_end_reaches_those_who_wait_and_those_who_do_not_read(streams: Streams) -> None:
    waiting, waiting_call = await streams.open()
    stuck, stuck_call = await streams.open()
    stuck.put(b"x" * 1_000_000)
    stuck.put(b"y")
    await asyncio.sleep(0)
    for subscription in (waiting, stuck):
        subscription.end(RpcError(GrpcCode.UNAVAILABLE, "over"))
        subscription.put(b"too late")
    for call in (waiting_call, stuck_call):
        with pytest.raises(RpcError, match="over") as caught:
            _ = [event async for event in call]
        assert caught.value.code == GrpcCode.UNAVAILABLE
