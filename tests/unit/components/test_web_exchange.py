"""Bodies that are too large to hold: each part gives the service the whole patience again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from dapr_common.http.messages import Request, Response
from dapr_common.http.server import HttpServer
from dapr_sidecar.components.web import WebError, WebService, is_address

PATIENCE = 3.0


class Peer:
    """Answers in parts, each after a word from the test; keeps what it was sent."""

    def __init__(self) -> None:
        self.go = asyncio.Semaphore(0)
        self.parts: list[bytes] = []
        self.received = b""

    async def handle(self, request: Request) -> Response:
        self.received = await request.read()
        return Response(200, [(b"x-kind", b"one")], self._answer())

    async def _answer(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            await self.go.acquire()
            yield part


@pytest.fixture
async def peer() -> AsyncIterator[tuple[Peer, WebService]]:
    peer = Peer()
    server = HttpServer(peer.handle, max_body_bytes=64 << 20, max_header_bytes=8192)
    port = await server.listen_tcp("127.0.0.1", 0)
    service = WebService("the peer", f"http://127.0.0.1:{port}", seconds=PATIENCE)
    yield peer, service
    await service.close()
    await server.close(0)


async def test_a_body_that_is_sent_in_parts(peer: tuple[Peer, WebService]) -> None:
    there, service = peer

    async def body() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * (64 << 10)

    async with service.exchange("PUT", "/x", {}, body(), 4 << 20) as exchange:
        answer = await exchange.answer()
    assert answer.status == 200
    assert answer.headers["x-kind"] == "one"
    assert there.received == b"x" * (4 << 20)


async def test_a_slow_answer_may_take_longer_than_one_part_may(
    peer: tuple[Peer, WebService],
) -> None:
    there, service = peer
    there.parts = [b"a", b"b", b"c"]
    loop = asyncio.get_running_loop()
    began = loop.time()
    found: list[bytes] = []
    async with service.exchange("GET", "/x", {}) as exchange:
        there.go.release()
        async for part in exchange.parts():
            found.append(part)
            loop.call_later(PATIENCE * 0.6, there.go.release)
    assert found == [b"a", b"b", b"c"]
    assert loop.time() - began > PATIENCE


async def test_an_answer_that_stops(peer: tuple[Peer, WebService]) -> None:
    there, service = peer
    there.parts = [b"a", b"b"]
    there.go.release()

    async def read() -> list[bytes]:
        async with service.exchange("GET", "/x", {}) as exchange:
            return [part async for part in exchange.parts()]

    with pytest.raises(WebError, match="no answer within"):
        await read()


async def test_an_answer_that_is_not_read(peer: tuple[Peer, WebService]) -> None:
    there, service = peer
    there.parts = [b"a"]
    async with service.exchange("GET", "/x", {}) as exchange:
        assert exchange.status == 200
    there.go.release()
    there.parts = []
    assert (await service.call("GET", "/x", {})).status == 200


async def test_an_upload_that_is_refused_early() -> None:
    """The body is not sent to its end, and its source is closed."""
    closed, left = asyncio.Event(), asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        left.set()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                await asyncio.sleep(0)
                yield b"x" * (64 << 10)
        finally:
            closed.set()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    service = WebService("the peer", f"http://127.0.0.1:{port}", seconds=30)
    async with service.exchange("PUT", "/x", {}, endless(), 1 << 40) as exchange:
        answer = await exchange.answer()
    assert (answer.status, answer.body) == (403, b"no")
    await asyncio.wait_for(closed.wait(), 30)
    await service.close()
    await asyncio.wait_for(left.wait(), 30)
    server.close()
    await server.wait_closed()


async def test_a_file_that_is_shorter_than_was_said(peer: tuple[Peer, WebService]) -> None:
    _, service = peer

    async def body() -> AsyncIterator[bytes]:
        yield b"short"

    with pytest.raises(WebError, match="Body length 5"):
        async with service.exchange("PUT", "/x", {}, body(), 10):
            pass


def test_addresses() -> None:
    assert is_address("127.0.0.1")
    assert is_address("::1")
    assert not is_address("s3.example.com")
