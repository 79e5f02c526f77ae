"""Servers on free ports, raw connections to them, and servers that follow a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from dapr_common.http.client import HttpClient
from dapr_common.http.messages import BodyIncompleteError, BodyTooLargeError, Request, Response
from dapr_common.http.server import HttpServer
from dapr_common.http2 import session


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=["ngh2", "h2"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(session, "_ENGINE", request.param)
    return str(request.param)


@dataclass
class Answer:
    """One response as it stood on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes
    informational: list[int] = field(default_factory=list)


class Wire:
    """A raw connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), f"repeated headers: {lines}"
        return int(first.split(" ")[1]), headers

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def answer(self, *, head_request: bool = False) -> Answer:
        informational = []
        status, headers = await self.head()
        while status < 200:
            informational.append(status)
            status, headers = await self.head()
        if head_request or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            pieces = []
            while piece := await self.chunk():
                pieces.append(piece)
            body = b"".join(pieces)
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self.reader.read()
        return Answer(status, headers, body, informational)

    async def ask(self, data: bytes) -> Answer:
        self.send(data)
        return await self.answer()

    async def ended(self) -> bool:
        """Whether the server closes without another byte."""
        with suppress(ConnectionError):
            return await self.reader.read() == b""
        return True

    def close(self) -> None:
        self.writer.close()


class Stage:
    """Starts servers, clients and connections, and ends them with the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.accepted = 0

    async def serve(
        self, handler: Callable[[Request], Awaitable[Response]], **options: Any
    ) -> tuple[HttpServer, int]:
        options.setdefault("max_body_bytes", 1 << 20)
        options.setdefault("max_header_bytes", 8192)
        server = HttpServer(handler, **options)
        self._stack.push_async_callback(server.close, 0)
        return server, await server.listen_tcp("127.0.0.1", 0)

    async def connect(self, port: int) -> Wire:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
        self._stack.callback(wire.close)
        return wire

    async def wire(self, handler: Callable[[Request], Awaitable[Response]], **options: Any) -> Wire:
        _, port = await self.serve(handler, **options)
        return await self.connect(port)

    async def script(self, play: Callable[[Wire], Awaitable[None]]) -> int:
        """A server that plays this for each connection."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.accepted += 1
            playing.append(asyncio.current_task())
            wire = Wire(reader, writer)
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await play(wire)
            writer.close()

        playing: list[asyncio.Task[None] | None] = []
        server = await asyncio.start_server(accept, "127.0.0.1", 0)

        async def stop() -> None:
            server.close()
            for task in playing:
                if task is not None:
                    task.cancel()
            await asyncio.sleep(0)

        self._stack.push_async_callback(stop)
        return int(server.sockets[0].getsockname()[1])

    def client(self, port: int, **options: Any) -> HttpClient:
        client = HttpClient("127.0.0.1", port, **options)
        self._stack.push_async_callback(client.close)
        return client

    def on_exit(self, callback: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        self._stack.push_async_callback(callback, *arguments)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        yield Stage(stack)


async def echo(request: Request) -> Response:
    """Answers with what it understood; an unreadable body is a 400 with the reason."""
    try:
        body = await request.read()
    except (BodyTooLargeError, BodyIncompleteError) as error:
        return Response(400, [], str(error).encode())
    shown = b"%b %b?%b " % (request.method.encode(), request.path, request.query)
    return Response(200, [], shown + body)
