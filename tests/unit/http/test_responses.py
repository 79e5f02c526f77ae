"""What the HTTP/1.1 server writes: framing, streams, and the end of connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dapr_common.http.messages import Request, Response

from .conftest import Wire, echo

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"


def answering(**options: Any) -> Any:
    """A handler that gives the same response each time; ``body`` may be a list of pieces."""
    body = options.pop("body", b"")

    async def pieces() -> AsyncIterator[bytes]:
        for piece in body:
            yield piece

    async def handle(request: Request) -> Response:
        return Response(body=body if isinstance(body, bytes) else pieces(), **options)

    return handle


LENGTH = (b"Content-Length", b"3")


@pytest.mark.parametrize("body", [b"abc", [b"ab", b"c"]])
@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body_have_none(stage: Any, body: Any, status: int) -> None:
    wire = await stage.wire(answering(status=status, body=body))
    for _ in range(2):
        answer = await wire.ask(GET)
        assert answer.status == status
        assert not {"content-length", "transfer-encoding"} & set(answer.headers)


@pytest.mark.parametrize(
    ("body", "headers", "length"),
    [
        (b"abc", [], "3"),
        (b"", [(b"content-length", b"7")], "7"),
        ([b"abc"], [], None),
        ([b"abc"], [LENGTH], "3"),
    ],
)
async def test_head_has_the_headers_only(
    stage: Any, body: Any, headers: Any, length: str | None
) -> None:
    wire = await stage.wire(answering(body=body, headers=headers))
    for _ in range(2):
        wire.send(HEAD)
        answer = await wire.answer(head_request=True)
        assert answer.headers.get("content-length") == length
        assert "transfer-encoding" not in answer.headers


async def test_streams_are_chunked_or_of_the_declared_length(stage: Any) -> None:
    wire = await stage.wire(answering(body=[b"ab", b"", b"c"]))
    for _ in range(2):
        wire.send(GET)
        _, headers = await wire.head()
        assert headers["transfer-encoding"] == "chunked"
        assert [await wire.chunk() for _ in range(3)] == [b"ab", b"c", b""]
    wire = await stage.wire(answering(body=[b"ab", b"c"], headers=[LENGTH]))
    for _ in range(2):
        answer = await wire.ask(GET)
        assert (answer.body, answer.headers["content-length"]) == (b"abc", "3")
        assert "transfer-encoding" not in answer.headers


async def test_a_stream_to_http_1_0_ends_with_the_connection(stage: Any) -> None:
    wire = await stage.wire(answering(body=[b"ab", b"c"]))
    answer = await wire.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert (answer.body, answer.headers["connection"]) == (b"abc", "close")


@pytest.mark.parametrize("pieces", [[b"ab"], [b"ab", b"cd"]])
async def test_a_stream_of_another_length_than_declared_is_cut(stage: Any, pieces: Any) -> None:
    wire = await stage.wire(answering(body=pieces, headers=[LENGTH]))
    wire.send(GET)
    await wire.head()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await wire.reader.readexactly(3)


async def collect(wire: Wire, pieces: list[bytes]) -> None:
    while b"" not in pieces:
        pieces.append(await wire.chunk())


async def test_a_stream_that_fails_is_cut_without_a_last_chunk(stage: Any) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"abc"
        raise OSError("the app is gone")

    async def fail(request: Request) -> Response:
        return Response(200, [], body())

    wire = await stage.wire(fail)
    wire.send(GET)
    await wire.head()
    pieces: list[bytes] = []
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await collect(wire, pieces)
    assert b"" not in pieces


async def test_pieces_leave_as_they_are_made_and_wait_for_a_slow_client(stage: Any) -> None:
    made = 0
    step = asyncio.Event()
    closed = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        nonlocal made
        try:
            yield b"first"
            await step.wait()
            while True:
                made += 1
                yield b"x" * 65_536
        finally:
            closed.set()

    async def stream(request: Request) -> Response:
        return Response(200, [], body())

    wire = await stage.wire(stream)
    wire.send(GET)
    await wire.head()
    assert await wire.chunk() == b"first"
    wire.writer.transport.pause_reading()
    step.set()
    before = -1
    while before != made:
        before = made
        await asyncio.sleep(0.05)
    assert 0 < made * 65_536 < 24 << 20
    wire.writer.transport.abort()
    await closed.wait()


async def test_both_directions_may_flow_at_once(stage: Any) -> None:
    async def mirror(request: Request) -> Response:
        return Response(200, [], request.chunks())

    wire = await stage.wire(mirror, idle_timeout=0.2)
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    _, headers = await wire.head()
    assert headers["transfer-encoding"] == "chunked"
    assert await wire.chunk() == b"a"
    await asyncio.sleep(0.5)  # longer than a silent client is waited for otherwise
    wire.send(b"1\r\nb\r\n")
    assert await wire.chunk() == b"b"
    wire.send(b"0\r\n\r\n")
    assert await wire.chunk() == b""
    assert await wire.ended()


async def test_values_cannot_start_lines(stage: Any) -> None:
    wire = await stage.wire(answering(headers=[(b"X", b"a\r\nSet-Cookie: b\n\0")]))
    answer = await wire.ask(GET)
    assert answer.headers["x"].split() == ["a", "Set-Cookie:", "b"]
    assert "set-cookie" not in answer.headers


async def test_a_handlers_defect_is_a_500(stage: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: Request) -> Response:
        raise ValueError("a bug")

    wire = await stage.wire(broken)
    answer = await wire.ask(GET)
    assert (answer.status, answer.headers["connection"]) == (500, "close")
    assert await wire.ended()


async def test_statuses_nobody_knows(stage: Any) -> None:
    wire = await stage.wire(answering(status=799, body=b"x"))
    assert (await wire.ask(GET)).status == 799


# --- leaving ------------------------------------------------------------------------------------


class Gate:
    """A handler that waits until it is let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go = asyncio.Event()
        self.cancelled = False

    async def __call__(self, request: Request) -> Response:
        self.entered.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return await echo(request)


async def test_draining_finishes_what_is_under_way_and_closes_what_is_idle(stage: Any) -> None:
    gate = Gate()
    server, port = await stage.serve(gate)
    idle, busy = await stage.connect(port), await stage.connect(port)
    busy.send(GET + GET)
    await gate.entered.wait()
    closing = asyncio.create_task(server.close(5))
    assert await idle.ended()
    with pytest.raises(ConnectionError):
        await stage.connect(port)
    assert server.open_requests == 1
    gate.go.set()
    answer = await busy.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    await closing
    assert not server.connections


async def test_draining_ends_the_connection_of_a_stream_too(stage: Any) -> None:
    gate = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        await gate.wait()
        yield b"b"

    async def stream(request: Request) -> Response:
        return Response(200, [], body())

    server, port = await stage.serve(stream)
    wire = await stage.connect(port)
    wire.send(GET)
    await wire.head()
    assert await wire.chunk() == b"a"
    closing = asyncio.create_task(server.close(5))
    await asyncio.sleep(0)
    gate.set()
    assert [await wire.chunk(), await wire.chunk()] == [b"b", b""]
    await closing


async def test_after_the_grace_handlers_are_cancelled_and_done(stage: Any) -> None:
    gate = Gate()
    server, port = await stage.serve(gate)
    wire = await stage.connect(port)
    wire.send(GET)
    await gate.entered.wait()
    await server.close(0.05)
    assert gate.cancelled
    assert await wire.ended()
