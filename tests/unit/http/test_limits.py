"""What slow, greedy and vanishing clients cost the HTTP/1.1 server."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from time import perf_counter
from typing import Any

import pytest

from dapr_common.http.messages import BodyIncompleteError, Request, Response

from .conftest import Wire, echo

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
TOO_LARGE = b"431 Request Header Fields Too Large"


async def ignore(request: Request) -> Response:
    return Response(204)


# --- headers ------------------------------------------------------------------------------------


async def test_headers_up_to_the_limit(stage: Any) -> None:
    wire = await stage.wire(echo)
    assert (await wire.ask(GET[:-2] + b"X: %b\r\n\r\n" % (b"a" * 7000))).status == 200
    answer = await wire.ask(GET[:-2] + b"X: %b\r\n\r\n" % (b"a" * 9000))
    assert (answer.status, answer.body) == (431, TOO_LARGE)
    assert answer.headers["connection"] == "close"
    assert await wire.ended()


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
        b"GET / HTTP/1.1\r\nHost: a\r\nX",
        CHUNKED + b"0\r\nX: ",
        CHUNKED + b"1;",
        GET * 3 + b"GET / HTTP/1.1\r\nX: ",
    ],
)
async def test_a_line_without_end_is_cut_at_the_limit(stage: Any, start: bytes) -> None:
    wire = await stage.wire(echo)
    wire.send(start)
    for _ in range(200):
        wire.send(b"a" * 1000)
        with suppress(ConnectionError):
            await wire.writer.drain()
        if wire.reader._buffer and b"431" in wire.reader._buffer:
            break
        await asyncio.sleep(0)
    received = await wire.reader.read()
    assert TOO_LARGE in received or b"unexpected EOF" in received


async def test_many_small_headers_count_too(stage: Any) -> None:
    wire = await stage.wire(echo)
    lines = b"".join(b"x-%d: y\r\n" % number for number in range(2000))
    assert (await wire.ask(GET[:-2] + lines + b"\r\n")).body == TOO_LARGE


async def test_a_large_body_before_a_half_header_is_no_header(stage: Any) -> None:
    wire = await stage.wire(echo)
    wire.send(POST + b"Content-Length: 60000\r\n\r\n" + b"x" * 60000 + GET[:10])
    assert len((await wire.answer()).body) > 60000
    assert (await wire.ask(GET[10:])).status == 200


# --- bodies -------------------------------------------------------------------------------------


async def test_a_declared_body_over_the_limit_is_refused_unread_and_the_answer_arrives(
    stage: Any,
) -> None:
    wire = await stage.wire(echo)
    size = 5 << 20
    # A reset would take the answer out of the client's buffer before it looks.
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    wire.send(POST + b"Content-Length: %d\r\n\r\n" % size)
    wire.send(b"x" * size)
    await asyncio.sleep(0.1)
    wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
    answer = await wire.answer()
    assert (answer.status, answer.body) == (400, b"stream too large")
    assert answer.headers["connection"] == "close"
    assert await wire.ended()


async def test_a_chunked_body_is_refused_once_it_passed_the_limit(stage: Any) -> None:
    wire = await stage.wire(echo, max_body_bytes=100_000)
    wire.send(CHUNKED + (b"ea60\r\n" + b"x" * 60_000 + b"\r\n") * 2)
    answer = await wire.answer()
    assert (answer.status, answer.body) == (400, b"stream too large")
    assert await wire.ended()


async def test_a_body_at_the_limit_passes(stage: Any) -> None:
    wire = await stage.wire(echo, max_body_bytes=100_000)
    answer = await wire.ask(POST + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000)
    assert len(answer.body) == 100_000 + len(b"POST /? ")


async def test_short_bodies_nobody_reads_are_skipped_long_ones_end_the_connection(
    stage: Any,
) -> None:
    wire = await stage.wire(ignore, max_body_bytes=None)
    wire.send(POST + b"Content-Length: 200000\r\n\r\n")
    assert (await wire.answer()).status == 204
    wire.send(b"x" * 200_000 + GET)
    assert (await wire.answer()).status == 204
    wire.send(POST + b"Content-Length: 900000\r\n\r\n")
    answer = await wire.answer()
    assert (answer.status, answer.headers["connection"]) == (204, "close")
    assert await wire.ended()


async def test_a_body_streams_into_the_handler_while_it_arrives(stage: Any) -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(request: Request) -> Response:
        async for chunk in request.chunks():
            await got.put(chunk)
        return Response(200)

    wire = await stage.wire(take)
    wire.send(CHUNKED)
    for piece in (b"one", b"two", b"three"):
        wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert await got.get() == piece
    assert (await wire.ask(b"0\r\n\r\n")).status == 200


async def test_a_client_waits_for_a_slow_reader(stage: Any) -> None:
    go = asyncio.Event()
    size = 64 << 20

    async def late(request: Request) -> Response:
        await go.wait()
        total = 0
        async for chunk in request.chunks():
            assert len(chunk) <= 1 << 20
            total += len(chunk)
        return Response(200, [], b"%d" % total)

    _, port = await stage.serve(late, max_body_bytes=None)
    wire = await stage.connect(port)
    wire.send(POST + b"Content-Length: %d\r\n\r\n" % size)
    await wire.writer.drain()
    sock = wire.writer.get_extra_info("socket")
    sent = await flood(socket.socket(fileno=sock.fileno()), size)
    assert sent < 24 << 20, "the server took what its handler did not"
    go.set()
    wire.send(b"x" * (size - sent))
    assert (await wire.answer()).body == b"%d" % size


async def flood(sock: socket.socket, size: int) -> int:
    """Send until nothing more is taken for a while; returns the bytes taken."""
    sent, refusals = 0, 0
    block = b"x" * (1 << 18)
    try:
        while refusals < 20 and sent < size:
            try:
                sent += sock.send(block[: size - sent])
                refusals = 0
            except BlockingIOError:
                refusals += 1
                await asyncio.sleep(0.005)
            await asyncio.sleep(0)
    finally:
        sock.detach()
    return sent


# --- time ---------------------------------------------------------------------------------------


async def until_cut(wire: Wire, drip: bytes = b"") -> None:
    async def dripping() -> None:
        while drip:
            wire.send(drip)
            await asyncio.sleep(0.02)

    dripper = asyncio.create_task(dripping())
    with suppress(ConnectionError):
        assert await wire.reader.read() == b""
    dripper.cancel()


@pytest.mark.parametrize(
    ("start", "drip"),
    [(b"", b""), (b"G", b""), (GET[:-2], b""), (GET[:-2], b"x: y\r\n"), (b"P", b"")],
)
async def test_half_sent_headers_are_cut_in_time(stage: Any, start: bytes, drip: bytes) -> None:
    began = perf_counter()
    wire = await stage.wire(echo, header_timeout=0.2)
    wire.send(start)
    async with asyncio.timeout(8):  # 10 s are what is waited otherwise
        await until_cut(wire, drip)
    assert perf_counter() - began > 0.15


async def test_the_second_requests_headers_are_cut_in_time(stage: Any) -> None:
    wire = await stage.wire(echo, header_timeout=0.2)
    assert (await wire.ask(GET)).status == 200
    wire.send(b"G")
    async with asyncio.timeout(8):
        await until_cut(wire)


async def test_an_idle_connection_is_closed_later_than_a_half_request(stage: Any) -> None:
    wire = await stage.wire(echo, header_timeout=0.05, idle_timeout=0.5)
    began = perf_counter()
    assert (await wire.ask(GET)).status == 200
    async with asyncio.timeout(20):
        await until_cut(wire)
    assert perf_counter() - began > 0.4


@pytest.mark.parametrize(
    "start", [POST + b"Content-Length: 10\r\n\r\nabc", CHUNKED + b"3\r\nabc\r\n"]
)
async def test_a_body_that_stops_is_given_up(stage: Any, start: bytes) -> None:
    wire = await stage.wire(echo, idle_timeout=0.2)
    answer = await wire.ask(start)
    assert (answer.status, answer.body) == (400, b"timeout reading the request body")
    assert await wire.ended()


async def test_a_client_that_takes_nothing_of_its_answer_is_cut(stage: Any) -> None:
    ended = asyncio.Event()

    async def endless(request: Request) -> Response:
        async def body() -> Any:
            try:
                while True:
                    yield b"x" * 65_536
            finally:
                ended.set()

        return Response(200, [], body())

    _, port = await stage.serve(endless, idle_timeout=0.2)
    sock = socket.create_connection(("127.0.0.1", port))
    try:
        sock.send(GET)
        async with asyncio.timeout(20):
            await ended.wait()
    finally:
        sock.close()


# --- vanishing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_that_goes_away_cancels_its_handler(stage: Any, reset: bool) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(request: Request) -> Response:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Response()

    server, port = await stage.serve(hang)
    wire = await stage.connect(port)
    wire.send(GET)
    await started.wait()
    assert server.open_requests == 1
    if reset:
        linger = struct.pack("ii", 1, 0)
        wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    wire.writer.transport.abort()
    await cancelled.wait()
    assert not server.connections


async def test_a_body_that_breaks_off_raises_in_the_handler(stage: Any) -> None:
    seen: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def read(request: Request) -> Response:
        try:
            await request.read()
        except BodyIncompleteError as error:
            seen.set_result(error)
        return Response(400)

    wire = await stage.wire(read)
    wire.send(POST + b"Content-Length: 10\r\n\r\nabc")
    wire.writer.write_eof()
    assert str(await seen) == "unexpected EOF"
    assert (await wire.answer()).status == 400
    assert await wire.ended()


async def test_a_half_closed_client_gets_its_answers_and_then_the_end(stage: Any) -> None:
    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.02)
        return await echo(request)

    wire = await stage.wire(slow)
    wire.send(GET + GET)
    wire.writer.write_eof()
    assert [(await wire.answer()).status for _ in range(2)] == [200, 200]
    assert await wire.ended()


async def test_connections_over_the_limit_are_refused(stage: Any) -> None:
    _, port = await stage.serve(echo, max_connections=1)
    first = await stage.connect(port)
    assert (await first.ask(GET)).status == 200
    second = await stage.connect(port)
    assert await second.ended()
    assert (await first.ask(GET)).status == 200
