"""What the HTTP/1.1 server takes, and what it refuses, byte by byte."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dapr_common.http.messages import Request, Response

from .conftest import echo

HOST = b"Host: a\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_connection_serves_one_request_after_the_other(stage: Any) -> None:
    wire = await stage.wire(echo)
    for number in range(3):
        answer = await wire.ask(b"GET /%d?q=%%20 HTTP/1.1\r\nHost: a\r\n\r\n" % number)
        assert answer.body == b"GET /%d?q=%%20 " % number
        assert "connection" not in answer.headers
        assert answer.headers["date"].endswith("GMT")


async def test_a_request_may_come_in_single_bytes(stage: Any) -> None:
    wire = await stage.wire(echo)
    raw = b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    for byte in raw:
        wire.send(bytes((byte,)))
        await wire.writer.drain()
        await asyncio.sleep(0)
    assert (await wire.answer()).body == b"POST /p? abc"


async def test_pipelined_requests_are_answered_in_order_one_at_a_time(stage: Any) -> None:
    running = most = 0

    async def slow_first(request: Request) -> Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02 if request.path == b"/0" else 0)
        running -= 1
        return await echo(request)

    wire = await stage.wire(slow_first)
    bodies = [b"x" * size for size in (0, 10, 100_000, 5)]
    for number, body in enumerate(bodies):
        wire.send(
            b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
            % (number, len(body), body)
        )
    for number, body in enumerate(bodies):
        assert (await wire.answer()).body == b"POST /%d? %b" % (number, body)
    assert most == 1


async def test_blanks_around_a_value_are_none_of_it(stage: Any) -> None:
    seen: list[bytes | None] = []

    async def keep(request: Request) -> Response:
        seen.extend(request.header(name) for name in (b"one", b"two", b"none"))
        return Response(200, [], await request.read())

    wire = await stage.wire(keep)
    answer = await wire.ask(
        b"POST / HTTP/1.1\r\nHost: a \r\nOne: \t a  b \t \r\nTwo:c\t\r\nNone:  \r\n"
        b"Transfer-Encoding: chunked \r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    assert (answer.status, answer.body) == (200, b"abc")
    assert seen == [b"a  b", b"c", b""]


async def test_more_pipelined_requests_than_are_read_ahead(stage: Any) -> None:
    wire = await stage.wire(echo)
    wire.send(GET * 500)
    for _ in range(500):
        assert (await wire.answer()).status == 200


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        (b"http://other.example/p?q=1", b"/p?q=1"),
        (b"http://other.example", b"/?"),
        (b"http://other.example?q", b"/?q"),
        (b"/a%2Fb//c/../d?x?y", b"/a%2Fb//c/../d?x?y"),
    ],
)
async def test_targets(stage: Any, target: bytes, seen: bytes) -> None:
    wire = await stage.wire(echo)
    answer = await wire.ask(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
    assert answer.body == b"GET %b " % seen


async def test_http_1_0_ends_the_connection_unless_it_is_asked_to_stay(stage: Any) -> None:
    wire = await stage.wire(echo)
    answer = await wire.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")
    answer = await wire.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await wire.ended()


# --- refused ------------------------------------------------------------------------------------


def post(headers: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        # Two opinions about where the body ends.
        (post(b"Content-Length: 3\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"), 400),
        (post(b"Transfer-Encoding: chunked\r\nContent-Length: 3", b"0\r\n\r\n"), 400),
        (post(b"Content-Length: 3\r\nContent-Length: 4", b"abcd"), 400),
        (post(b"Content-Length: 3\r\nContent-Length: 3", b"abc"), 400),
        (post(b"Content-Length: 3, 3", b"abc"), 400),
        (post(b"Content-Length: +3", b"abc"), 400),
        (post(b"Content-Length: -3", b"abc"), 400),
        (post(b"Content-Length: 0x3", b"abc"), 400),
        (post(b"Content-Length: ", b"abc"), 400),
        (post(b"Content-Length: 99999999999999999999", b"abc"), 400),
        (post(b"Transfer-Encoding: gzip", b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding: identity", b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding: chunked, gzip", b"0\r\n\r\n"), 400),
        (post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"), 400),
        (post(b"Transfer-Encoding: xchunked", b"0\r\n\r\n"), 501),
        (post(b"Transfer-Encoding: \x0bchunked", b"0\r\n\r\n"), 400),
        (post(b"Transfer-Encoding : chunked", b"0\r\n\r\n"), 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        # Two opinions about where a line ends.
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        # Not HTTP, or not this one.
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX Y: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", 400),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 505),
        (b"GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"g(t / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-maybe\r\n\r\n", 417),
    ],
)
async def test_refused_requests(stage: Any, raw: bytes, status: int) -> None:
    handled: list[Request] = []

    async def keep(request: Request) -> Response:
        handled.append(request)
        return Response()

    wire = await stage.wire(keep, h2c=False)
    answer = await wire.ask(raw + GET)
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body.startswith(b"%d " % status)
    assert await wire.ended()
    assert not handled


@pytest.mark.parametrize(
    "body",
    [
        b"xyz\r\nabc\r\n0\r\n\r\n",
        b"-1\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
    ],
)
async def test_broken_chunks_end_the_body_and_the_connection(stage: Any, body: bytes) -> None:
    wire = await stage.wire(echo)
    answer = await wire.ask(CHUNKED + body + GET)
    assert (answer.status, answer.body) == (400, b"unexpected EOF")
    assert await wire.ended()


async def test_earlier_requests_are_answered_before_a_refusal(stage: Any) -> None:
    wire = await stage.wire(echo)
    wire.send(GET + GET + b"nonsense\r\n\r\n")
    assert [(await wire.answer()).status for _ in range(3)] == [200, 200, 400]
    assert await wire.ended()


async def test_trailers_are_no_headers(stage: Any) -> None:
    async def show(request: Request) -> Response:
        await request.read()
        return Response(200, [], b",".join(name for name, _ in request.headers))

    wire = await stage.wire(show)
    answer = await wire.ask(CHUNKED + b"1\r\na\r\n0\r\ndapr-api-token: x\r\nX: y\r\n\r\n")
    assert answer.body == b"host,transfer-encoding"
    assert (await wire.ask(GET)).body == b"host"


# --- upgrades -----------------------------------------------------------------------------------


async def test_an_upgrade_is_ignored_and_the_connection_goes_on(stage: Any) -> None:
    wire = await stage.wire(echo)
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    wire.send(b"GET /ws HTTP/1.1\r\nHost: a\r\n" + upgrade + b"\r\n" + GET)
    assert (await wire.answer()).body == b"GET /ws? "
    assert (await wire.answer()).body == b"GET /x? "
    head = b"POST /b HTTP/1.1\r\nHost: a\r\n" + upgrade
    length = b"Content-Length: %d\r\n\r\n" % len(GET)
    wire.send(head + length + GET + GET)
    assert (await wire.answer()).body == b"POST /b? " + GET
    assert (await wire.answer()).body == b"GET /x? "
    wire.send(head + b"Transfer-Encoding: chunked\r\n\r\n1\r\na")
    await wire.writer.drain()
    await asyncio.sleep(0.01)
    wire.send(b"\r\n2\r\nbc\r\n0\r\n\r\n" + GET)
    assert (await wire.answer()).body == b"POST /b? abc"
    assert (await wire.answer()).body == b"GET /x? "


async def test_what_follows_a_connect_is_not_read(stage: Any) -> None:
    seen: list[bytes] = []

    async def keep(request: Request) -> Response:
        seen.append(request.path)
        return Response(405)

    wire = await stage.wire(keep)
    answer = await wire.ask(b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 90\r\n\r\n" + GET)
    assert (answer.status, answer.headers["connection"]) == (405, "close")
    assert await wire.ended()
    assert seen == [b"/a:80"]


# --- expect -------------------------------------------------------------------------------------

EXPECTING = b"POST / HTTP/%b\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"


async def test_continue_is_sent_when_the_body_is_wanted(stage: Any) -> None:
    wire = await stage.wire(echo)
    wire.send(EXPECTING % b"1.1")
    assert await wire.head() == (100, {})
    answer = await wire.ask(b"abc")
    assert (answer.status, answer.body, answer.informational) == (200, b"POST /? abc", [])
    assert (await wire.ask(GET)).status == 200


async def test_no_continue_for_a_body_that_is_there_or_nobody_wants(stage: Any) -> None:
    wire = await stage.wire(echo)
    answer = await wire.ask(EXPECTING % b"1.1" + b"abc")
    assert (answer.body, answer.informational) == (b"POST /? abc", [])

    async def refuse(request: Request) -> Response:
        return Response(403)

    wire = await stage.wire(refuse)
    answer = await wire.ask(EXPECTING % b"1.1")
    assert (answer.status, answer.informational) == (403, [])
    assert answer.headers["connection"] == "close"
    assert await wire.ended()


async def test_http_1_0_gets_no_continue(stage: Any) -> None:
    wire = await stage.wire(echo)
    wire.send(EXPECTING % b"1.0")
    wire.send(b"abc")
    answer = await wire.answer()
    assert (answer.body, answer.informational) == (b"POST /? abc", [])
