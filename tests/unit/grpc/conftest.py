"""Servers and channels over each session, and the loop that programs run on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop
from google.protobuf.wrappers_pb2 import StringValue

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context, GrpcServer, Method
from dapr_common.http2.session import Engine

LIMIT = 4 << 20


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=["ngh2", "h2"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param


class Echo:
    """A service of raw bytes that does what its requests say; what it saw is kept."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []
        self.cancelled = asyncio.Event()
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.received = 0

    def methods(self) -> list[Method]:
        return [
            Method("/test.Echo/Unary", "unary_unary", None, None, self.unary),
            Method("/test.Echo/Expand", "unary_stream", None, None, self.expand),
            Method("/test.Echo/Count", "stream_unary", None, None, self.count),
            Method("/test.Echo/Chat", "stream_stream", None, None, self.chat),
            Method("/test.Echo/Talk", "stream_stream", None, None, self.talk),
            Method("/test.Echo/Stall", "stream_unary", None, None, self.stall),
        ]

    async def unary(self, request: bytes, context: Context) -> bytes:
        self.contexts.append(context)
        if request == b"hang":
            self.started.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if request == b"not found":
            raise RpcError(GrpcCode.NOT_FOUND, "no such thing: ü %\n")
        if request.startswith(b"long error"):
            text = "ü" * int(request.split()[-1])
            raise RpcError(GrpcCode.INTERNAL, text, details=[StringValue(value=text)])
        if request == b"bug":
            raise ValueError("a bug")
        if request == b"zip":
            context.compress()
            return b"0" * 100_000
        context.set_initial_metadata([("first", "1"), ("first-bin", b"\x00\xff")])
        context.set_trailers([("last", "2"), ("last-bin", b"\xff\x00")])
        return request

    async def expand(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        try:
            for _ in range(int(request)):
                yield b"x" * 1000
        finally:
            self.cancelled.set()

    async def count(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        sizes = [len(message) async for message in requests]
        return b"%d %d" % (len(sizes), sum(sizes))

    async def chat(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        self.contexts.append(context)
        async for message in requests:
            if message == b"fail":
                raise RpcError(GrpcCode.ABORTED, "as asked")
            yield b"<" + message + b">"

    async def talk(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """A coroutine instead of a generator; the header goes out ahead of any message."""
        context.send_initial_metadata()
        async for message in requests:
            await context.send(message)
            await context.send(message)

    async def stall(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        self.started.set()
        await self.release.wait()
        async for message in requests:
            self.received += len(message)
        return b"%d" % self.received


class Stage:
    """Starts servers and channels of one engine, and ends them with the test."""

    def __init__(self, engine: Engine, stack: AsyncExitStack) -> None:
        self.engine = engine
        self._stack = stack
        self.echo = Echo()
        self.servers: list[GrpcServer] = []

    async def server(self, **options: Any) -> GrpcServer:
        options.setdefault("max_receive_bytes", LIMIT)
        server = GrpcServer(engine=self.engine, **options)
        for method in self.echo.methods():
            server.add(method)
        self.servers.append(server)
        self._stack.push_async_callback(server.close, 0)
        return server

    async def listen(self, **options: Any) -> str:
        server = await self.server(**options)
        return f"127.0.0.1:{await server.listen_tcp('127.0.0.1', 0)}"

    def channel(self, target: str, **options: Any) -> GrpcChannel:
        channel = GrpcChannel(target, engine=self.engine, **options)
        self._stack.push_async_callback(channel.close)
        return channel

    async def pair(self, **options: Any) -> GrpcChannel:
        return self.channel(await self.listen(**options))

    def on_exit(self, callback: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        self._stack.push_async_callback(callback, *arguments)


@pytest.fixture
async def stage(engine: Engine) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack, asyncio.timeout(30):
        yield Stage(engine, stack)


@pytest.fixture
async def pair(stage: Stage) -> GrpcChannel:
    return await stage.pair()
