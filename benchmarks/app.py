"""The application behind a sidecar: it echoes, and says when an event was delivered."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import httptools

from dapr_common.grpc.context import Context, Method
from dapr_common.grpc.server import GrpcServer

ECHO_METHOD = "/benchmark.Echo/Echo"
PUBSUB = "pubsub"
_SLOT = re.compile(rb'"slot":\s*"(\d+)-(\d+)"')
_EVENT = b"/event"
_ECHO = b"/echo"
Delivered = Callable[[int, int], None]
"""Called with the slot and the number that the event's data carries."""


class EchoApp:
    """An HTTP app in this process; ``delivered`` may be set while it runs."""

    def __init__(self, topic: str) -> None:
        subscription = [{"pubsubname": PUBSUB, "topic": topic, "route": _EVENT.decode()}]
        self.subscriptions = json.dumps(subscription).encode()
        self.delivered: Delivered | None = None
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _AppProtocol(self), "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    def answer(self, url: bytes, body: bytes, content_type: bytes) -> tuple[int, bytes, bytes]:
        """Status, content type and body for a request."""
        if url == _ECHO:
            return 200, content_type, body
        if url == _EVENT:
            found = _SLOT.search(body)
            if found and self.delivered is not None:
                self.delivered(int(found[1]), int(found[2]))
            return 200, b"application/json", b'{"status":"SUCCESS"}'
        if url == b"/dapr/subscribe":
            return 200, b"application/json", self.subscriptions
        return 404, b"text/plain", b""


class GrpcEchoApp:
    """A gRPC app in this process, with one unary method that only it knows."""

    def __init__(self) -> None:
        self._server = GrpcServer(max_receive_bytes=4 << 20)
        self._server.add(Method(ECHO_METHOD, "unary_unary", None, None, self._echo))
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port."""
        self.port = await self._server.listen_tcp("127.0.0.1", 0)

    async def stop(self) -> None:
        """Stop listening and cut what is open."""
        await self._server.close(0)

    async def _echo(self, request: bytes, context: Context) -> bytes:
        return request


class _AppProtocol(asyncio.Protocol):
    def __init__(self, app: EchoApp) -> None:
        self._app = app
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._url = b""
        self._type = b"text/plain"
        self._body: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._type = value

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        status, kind, body = self._app.answer(self._url, b"".join(self._body), self._type)
        self._body.clear()
        head = b"HTTP/1.1 %d X\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % (status, kind, len(body)) + body)
