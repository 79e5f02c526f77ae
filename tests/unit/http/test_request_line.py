"""Request lines the parser alone would refuse."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dapr_common.http.messages import Request, Response
from dapr_common.http.request_line import mended

HOST = b" HTTP/1.1\r\nHost: a\r\n"


async def tell(request: Request) -> Response:
    body = await request.read()
    return Response(200, [], request.method.encode() + b" " + request.path + b" " + body)


@pytest.mark.parametrize(
    "method", ["FOO", "get", "Post", "PROPFIND", "DESCRIBE", "PLAY", "a!~1", "X-Y"]
)
async def test_any_token_is_a_method(stage: Any, method: str) -> None:
    wire = await stage.wire(tell)
    name = method.encode()
    # More than once on a connection, with a body, and around an ordinary request.
    for _ in range(2):
        answer = await wire.ask(name + b" /p?q=1" + HOST + b"Content-Length: 3\r\n\r\nabc")
        assert (answer.status, answer.body) == (200, name + b" /p abc")
        answer = await wire.ask(b"GET /" + HOST + b"\r\n")
        assert answer.body == b"GET / "
        answer = await wire.ask(
            name + b" /c" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n"
        )
        assert answer.body == name + b" /c xy"


async def test_the_rest_of_the_head_may_come_later(stage: Any) -> None:
    wire = await stage.wire(tell)
    wire.send(b"FOO /later HT")
    await asyncio.sleep(0.01)
    answer = await wire.ask(b"TP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nz")
    assert answer.body == b"FOO /later z"


async def test_what_follows_it_is_the_next_request(stage: Any) -> None:
    wire = await stage.wire(tell)
    answer = await wire.ask(b"FOO /1" + HOST + b"\r\nGET /2" + HOST + b"\r\n")
    assert answer.body == b"FOO /1 "
    assert (await wire.ask(b"")).body == b"GET /2 "


async def test_a_body_is_never_taken_for_a_request(stage: Any) -> None:
    """Bytes of a body that look like a request, before one whose start cannot be found."""
    wire = await stage.wire(tell)
    wire.send(b"POST /1" + HOST + b"Content-Length: 40\r\n\r\n")
    await asyncio.sleep(0.01)
    body = b"FOO /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".ljust(40)
    answer = await wire.ask(body + b"BAR /2" + HOST + b"\r\n")
    assert answer.body == b"POST /1 " + body
    assert (await wire.ask(b"")).status == 400
    assert await wire.ended()


@pytest.mark.parametrize("method", [b"GET", b"FOO"])
async def test_targets_may_be_any_bytes(stage: Any, method: bytes) -> None:
    wire = await stage.wire(tell)
    answer = await wire.ask(method + b" /caf\xc3\xa9\xff?q=\xe9" + HOST + b"\r\n")
    assert answer.body == method + b" /caf%C3%A9%FF "
    assert (await wire.ask(b"GET /2" + HOST + b"\r\n")).body == b"GET /2 "
    answer = await wire.ask(method + b" /\xe9\x01" + HOST + b"\r\n")
    assert answer.status == 400


def test_only_the_line_is_mended() -> None:
    assert mended(b"FOO /FOO HTTP/1.1\r\nX: \xff") == ("FOO", b"POST /FOO HTTP/1.1\r\nX: \xff")
    assert mended(b"GET /\xff HTTP/1.1\r\nX: \xff") == ("", b"GET /%FF HTTP/1.1\r\nX: \xff")
    assert mended(b"GET /\xff") == ("", b"GET /%FF")
    for data in (
        b"GET /\x01 HTTP/1.1\r\n",
        b"FOO",
        b" / HTTP/1.1",
        b"F(O / HTTP/1.1",
        b"X" * 65 + b" /",
    ):
        assert mended(data) is None
