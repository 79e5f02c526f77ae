"""The HTTP/1.1 client against servers that follow a script, byte by byte."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from dapr_common.http.client import ConnectError, HttpClient, ResponseError
from dapr_common.http.client_connection import ClientConnection

from .conftest import Wire, echo

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def always(answer: bytes, *, close: bool = False) -> Any:
    """A server that answers each request head with these bytes."""

    async def play(wire: Wire) -> None:
        while True:
            await wire.reader.readuntil(b"\r\n\r\n")
            wire.send(answer)
            await wire.writer.drain()
            if close:
                return

    return play


async def read(client: HttpClient, method: str = "GET", **options: Any) -> tuple[int, bytes]:
    response = await client.request(method, b"/", [], **options)
    return response.status, await response.read()


async def none_left(client: HttpClient) -> None:
    """The connection is gone; the loop has to come round for that."""
    while client._live:
        await asyncio.sleep(0)


# --- responses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "body", "kept"),
    [
        (OK, b"ok", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
         b"ok", True),
        (b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + OK, b"ok", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"ok", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    ],
)  # fmt: skip
async def test_whole_responses(stage: Any, answer: bytes, body: bytes, kept: bool) -> None:
    client = stage.client(await stage.script(always(answer)))
    for _ in range(3):
        assert (await read(client))[1] == body
    assert stage.accepted == (1 if kept else 3)


async def test_a_body_may_end_with_the_connection(stage: Any) -> None:
    for head in (b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"):
        client = stage.client(await stage.script(always(head + b"until the end", close=True)))
        assert await read(client) == (200, b"until the end")


async def test_head_and_304_announce_a_body_that_does_not_come(stage: Any) -> None:
    client = stage.client(await stage.script(always(OK[:-2])))
    for _ in range(2):
        response = await client.request("HEAD", b"/", [])
        assert (response.content_length, await response.read()) == (2, b"")
    client = stage.client(await stage.script(always(OK[:-2].replace(b"200", b"304"))))
    for _ in range(2):
        assert await read(client) == (304, b"")
    assert stage.accepted == 2


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "malformed"),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n", "unexpected EOF"),
        (b"nonsense\r\n\r\n", "malformed"),
        (b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "upgrade"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 9000 + b"\r\n\r\n", "exceeded the limit"),
        (b"HTTP/1.1 103 Early\r\n\r\n" * 50 + OK, "informational"),
        (b"", "EOF"),
    ],
)  # fmt: skip
async def test_broken_responses(stage: Any, answer: bytes, text: str) -> None:
    port = await stage.script(always(answer, close=True))
    client = stage.client(port, max_response_header_bytes=8192)
    with pytest.raises(ResponseError, match=text):
        await read(client)
    await none_left(client)


async def test_headers_without_end_are_cut(stage: Any) -> None:
    sent = 0

    async def play(wire: Wire) -> None:
        nonlocal sent
        await wire.reader.readuntil(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            wire.send(b"a" * 4096)
            await wire.writer.drain()
            sent += 4096

    client = stage.client(await stage.script(play), max_response_header_bytes=8192)
    with pytest.raises(ResponseError, match="exceeded the limit"):
        await read(client)
    assert sent < 16 << 20


async def test_a_body_arrives_piece_by_piece_and_the_server_waits(stage: Any) -> None:
    sent = 0

    async def play(wire: Wire) -> None:
        nonlocal sent
        await wire.reader.readuntil(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        await wire.writer.drain()
        while True:
            wire.send(b"x" * 65_536)
            await wire.writer.drain()
            sent += 65_536

    client = stage.client(await stage.script(play))
    response = await client.request("GET", b"/", [])
    chunks = response.chunks()
    assert (await anext(chunks)).startswith(b"first")
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.05)
    assert sent < 24 << 20
    await chunks.aclose()
    assert not client._idle


# --- requests -----------------------------------------------------------------------------------


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize(
    ("body", "length", "framing", "sent"),
    [
        (b"abc", None, b"Content-Length: 3\r\n", b"abc"),
        (b"", None, b"Content-Length: 0\r\n", b""),
        (None, None, b"Content-Length: 0\r\n", b""),
        ((b"ab", b"", b"c"), 3, b"Content-Length: 3\r\n", b"abc"),
        ((b"ab", b"", b"c"), None, b"Transfer-Encoding: chunked\r\n",
         b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
    ],
)  # fmt: skip
async def test_what_requests_look_like(
    stage: Any, body: Any, length: int | None, framing: bytes, sent: bytes
) -> None:
    seen: list[bytes] = []

    async def play(wire: Wire) -> None:
        seen.append(await wire.reader.readuntil(b"\r\n\r\n"))
        seen.append(await wire.reader.readexactly(len(sent)))
        wire.send(OK)

    port = await stage.script(play)
    given = pieces(*body) if isinstance(body, tuple) else body
    client = stage.client(port)
    headers = [(b"X", b"a\r\nEvil: b")]
    response = await client.request("POST", b"/t?q", headers, given, content_length=length)
    await response.read()
    start = b"POST /t?q HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX: a  Evil: b\r\n" % port
    assert seen == [start + framing + b"\r\n", sent]


@pytest.mark.parametrize("parts", [(b"ab",), (b"ab", b"cd")])
async def test_a_body_of_another_length_than_declared_fails(stage: Any, parts: Any) -> None:
    async def play(wire: Wire) -> None:
        await wire.reader.read()

    client = stage.client(await stage.script(play))
    with pytest.raises(ResponseError, match="ContentLength=3"):
        await client.request("POST", b"/", [], pieces(*parts), content_length=3)
    await none_left(client)


async def test_an_early_answer_stops_the_upload(stage: Any) -> None:
    stopped = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0)
        finally:
            stopped.set()

    async def play(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        wire.send(OK)
        await wire.reader.read()

    client = stage.client(await stage.script(play))
    assert await read(client, "POST", body=endless()) == (200, b"ok")
    await stopped.wait()
    assert not client._idle


async def test_an_upload_waits_for_a_slow_server(stage: Any) -> None:
    made = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield b"x" * 65_536

    async def play(wire: Wire) -> None:
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        try:
            await asyncio.Event().wait()
        finally:
            wire.writer.transport.abort()

    client = stage.client(await stage.script(play))
    task = asyncio.create_task(client.request("POST", b"/", [], endless()))
    while not made:
        await asyncio.sleep(0.01)
    before = -1
    while before != made:
        before = made
        await asyncio.sleep(0.05)
    assert made * 65_536 < 24 << 20
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- the pool -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "body", "again"),
    [("GET", None, True), ("HEAD", None, True), ("POST", b"x", False), ("PUT", b"x", False)],
)
async def test_a_lost_kept_connection_is_replaced_only_when_that_is_safe(
    stage: Any, method: str, body: bytes | None, again: bool
) -> None:
    requests = 0

    async def play(wire: Wire) -> None:
        nonlocal requests
        await wire.reader.readuntil(b"\r\n\r\n")
        requests += 1
        wire.send(OK if requests != 2 else b"")
        if requests == 1:
            await wire.reader.readuntil(b"\r\n\r\n")
            requests += 1  # and goes away without an answer

    client = stage.client(await stage.script(play))
    assert (await read(client))[0] == 200
    if again:
        assert (await read(client, method, body=body))[0] == 200
        assert (stage.accepted, requests) == (2, 3)
    else:
        with pytest.raises(ResponseError, match="EOF") as caught:
            await read(client, method, body=body)
        assert caught.value.before_response
        assert (stage.accepted, requests) == (1, 2)


async def test_a_fresh_connection_that_is_lost_is_not_replaced(stage: Any) -> None:
    client = stage.client(await stage.script(always(b"", close=True)))
    with pytest.raises(ResponseError, match="EOF"):
        await read(client)
    assert stage.accepted == 1


async def test_a_connection_closed_while_idle_is_not_used(stage: Any) -> None:
    client = stage.client(await stage.script(always(OK, close=True)))
    assert (await read(client, "POST"))[0] == 200
    while client._idle:
        await asyncio.sleep(0)
    assert (await read(client, "POST"))[0] == 200


async def test_a_connection_without_work_is_closed_when_its_time_is_over(stage: Any) -> None:
    closed: asyncio.Queue[float] = asyncio.Queue()

    async def play(wire: Wire) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await always(OK)(wire)
        closed.put_nowait(time.monotonic())

    client = stage.client(await stage.script(play), idle_timeout=1.0)
    await asyncio.gather(read(client), read(client))
    last = kept = time.monotonic()
    while last < kept + 0.5:  # one of the two has work in between
        last = time.monotonic()
        await read(client)
        await asyncio.sleep(0.01)
    async with asyncio.timeout(20):
        await closed.get()
        assert await closed.get() >= last + 0.9, "it had work only just"
    assert not client._idle
    assert (await read(client))[0] == 200
    assert stage.accepted == 3


async def test_a_close_the_loop_has_not_seen_yet_is_looked_for(stage: Any) -> None:
    near, far = socket.socketpair()
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: ClientConnection(HttpClient("x", 1), loop), sock=near
    )
    assert not connection.hung_up()
    far.close()
    assert connection.hung_up()
    while not connection._lost:
        await asyncio.sleep(0)


async def test_a_cancelled_request_gives_its_connection_and_slot_up(stage: Any) -> None:
    asked = asyncio.Event()

    async def play(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        asked.set()
        if stage.accepted > 1:
            wire.send(OK)
        await wire.reader.read()

    client = stage.client(await stage.script(play), max_connections=1)
    first = asyncio.create_task(read(client))
    await asked.wait()
    second, third = (asyncio.create_task(read(client)) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    first.cancel()
    for task in (first, second):
        with suppress(asyncio.CancelledError):
            await task
    assert await third == (200, b"ok")
    assert client._free == 1


async def test_connections_are_limited_and_few_are_kept(stage: Any) -> None:
    most = open_now = 0

    async def play(wire: Wire) -> None:
        nonlocal most, open_now
        open_now += 1
        most = max(most, open_now)
        try:
            await always(OK)(wire)
        finally:
            open_now -= 1

    client = stage.client(await stage.script(play), max_connections=5, max_idle=2)
    answers = await asyncio.gather(*(read(client) for _ in range(40)))
    assert answers == [(200, b"ok")] * 40
    assert most <= 5
    assert len(client._idle) <= 2


async def test_targets_that_cannot_be_reached() -> None:
    client = HttpClient("127.0.0.1", 1)
    with pytest.raises(ConnectError, match=r"dial tcp 127\.0\.0\.1:1: connect: connection refused"):
        await read(client)
    client = HttpClient("no-such-host.invalid", 80)
    with pytest.raises(ConnectError, match=r"lookup no-such-host\.invalid: no such host"):
        await read(client)
    await client.close()
    with pytest.raises(ConnectError, match="the client is closed"):
        await read(client)


async def test_closing_breaks_what_is_under_way(stage: Any) -> None:
    asked = asyncio.Event()

    async def play(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        asked.set()
        await wire.reader.read()

    client = stage.client(await stage.script(play))
    task = asyncio.create_task(read(client))
    await asked.wait()
    await client.close()
    with pytest.raises(ResponseError):
        await task


async def test_over_a_unix_socket(stage: Any, tmp_path: Any) -> None:
    server, _ = await stage.serve(echo)
    path = str(tmp_path / "s")
    await server.listen_unix(path)
    client = HttpClient(unix_path=path)
    assert await read(client, "POST", body=b"x") == (200, b"POST /? x")
    await client.close()
