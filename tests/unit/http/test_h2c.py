"""HTTP/2 without TLS: our server, our client, and foreign ones of both kinds."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from dapr_common.http.client import HttpClient, ResponseError
from dapr_common.http.messages import Request, Response

from .conftest import Wire, echo

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/x?q"), (":authority", "a")]
POST = [(":method", "POST"), *GET[1:]]


class Peer:
    """The ``h2`` library on a raw connection, as a client or a server."""

    def __init__(self, wire: Wire, *, client: bool = True) -> None:
        self.wire = wire
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client))
        self.h2.initiate_connection()
        self.seen: list[Any] = []
        self.flush()

    def flush(self) -> None:
        self.wire.send(self.h2.data_to_send())

    async def until(self, kind: type) -> Any:
        """Read until an event of this kind came; it is removed from those seen."""
        while True:
            for event in self.seen:
                if isinstance(event, kind):
                    self.seen.remove(event)
                    return event
            data = await self.wire.reader.read(65_536)
            if not data:
                raise ConnectionError("closed")
            self.seen += self.h2.receive_data(data)
            self.flush()


async def show(request: Request) -> Response:
    answer = await echo(request)
    answer.headers += [(b"Version", request.http_version.encode()), (b"Connection", b"close")]
    answer.headers.append((b"Host-Seen", request.header(b"host") or b""))
    return answer


async def h2_read(client: HttpClient, method: str, **options: Any) -> tuple[int, bytes]:
    response = await client.request(method, b"/p?q", [(b"X-Y", b"z")], **options)
    return response.status, await response.read()


# --- foreign clients ----------------------------------------------------------------------------


async def curl(*arguments: str) -> str:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    process = await asyncio.create_subprocess_exec(
        program, "-s", "--max-time", "30", "-w", " v%{http_version} %{http_code}", *arguments,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    return out.decode()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("how", ["--http2-prior-knowledge", "--http2"])
async def test_curl(stage: Any, how: str, tmp_path: Path) -> None:
    _, port = await stage.serve(show)
    url = f"http://127.0.0.1:{port}/p?q"
    assert await curl(how, url) == "GET /p?q  v2 200"
    head = await curl(how, "-I", url)
    assert head.startswith("HTTP/2 200" if "prior" in how else "HTTP/1.1 101")
    assert "content-length: 10" in head
    version = "2" if "prior" in how else "1.1"  # a request with a body is not upgraded
    assert await curl(how, "-d", "abc", url) == f"POST /p?q abc v{version} 200"
    large = tmp_path / "large"
    large.write_bytes(b"x" * 900_000)
    sent = await curl(how, "-T", str(large), url)
    assert len(sent) > 900_000


async def test_curl_where_h2c_is_off(stage: Any) -> None:
    _, port = await stage.serve(show, h2c=False)
    url = f"http://127.0.0.1:{port}/p"
    assert await curl("--http2", url) == "GET /p?  v1.1 200"
    assert (await curl("--http2-prior-knowledge", url)).endswith(" 000")


NODE_CLIENT = """
const http2 = require('http2');
const session = http2.connect(process.argv[1]);
const ask = (method, body) => new Promise((resolve, reject) => {
  const stream = session.request({':method': method, ':path': '/n'});
  let got = '';
  stream.on('response', (headers) => { got += headers[':status'] + ' '; });
  stream.on('data', (piece) => { got += piece; });
  stream.on('end', () => resolve(got));
  stream.on('error', reject);
  stream.end(body);
});
Promise.all([ask('GET'), ask('POST', 'abc'), ask('PUT', 'x'.repeat(300000))]).then((all) => {
  console.log(all[0] + '|' + all[1] + '|' + all[2].length);
  session.close();
});
"""
NODE_SERVER = """
const server = require('http2').createServer();
server.on('stream', (stream, headers) => {
  let size = 0;
  stream.on('data', (piece) => { size += piece.length; });
  stream.on('end', () => {
    stream.respond({':status': 201, 'content-type': 'text/plain', 'x-path': headers[':path']});
    stream.end(headers[':method'] + size + 'x'.repeat(size));
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
"""


async def node(script: str, *arguments: str) -> asyncio.subprocess.Process:
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed")
    return await asyncio.create_subprocess_exec(
        program, "-e", script, *arguments, stdout=subprocess.PIPE
    )


@pytest.mark.usefixtures("engine")
async def test_node_as_the_client(stage: Any) -> None:
    _, port = await stage.serve(echo)
    process = await node(NODE_CLIENT, f"http://127.0.0.1:{port}")
    out, _ = await process.communicate()
    assert out == b"200 GET /n? |200 POST /n? abc|300012\n"


@pytest.mark.usefixtures("engine")
async def test_node_as_the_server(stage: Any) -> None:
    process = await node(NODE_SERVER)
    assert process.stdout is not None
    try:
        client = stage.client(int(await process.stdout.readline()), http2=True)
        assert await h2_read(client, "GET") == (201, b"GET0")
        size = 3_000_000
        status, body = await h2_read(client, "POST", body=b"x" * size)
        assert (status, len(body)) == (201, size + len(f"POST{size}"))
        await client.close()
    finally:
        process.kill()
        await process.wait()


# --- our client to our server -------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
async def test_requests_of_all_kinds(stage: Any) -> None:
    server, port = await stage.serve(show, max_body_bytes=4 << 20)
    client = stage.client(port, http2=True)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"y" * 100_000

    assert await h2_read(client, "GET") == (200, b"GET /p?q ")
    assert await h2_read(client, "POST", body=b"abc") == (200, b"POST /p?q abc")
    assert len((await h2_read(client, "PUT", body=b"x" * 3_000_000))[1]) == 3_000_009
    assert len((await h2_read(client, "POST", body=parts()))[1]) == 2_000_010
    assert (await h2_read(client, "POST", body=parts(), content_length=2_000_000))[0] == 200
    response = await client.request("HEAD", b"/p?q", [])
    assert (response.content_length, await response.read()) == (10, b"")
    assert response.header(b"version") == b"2.0"
    assert response.header(b"connection") is None
    assert response.header(b"host-seen") == b"127.0.0.1:%d" % port
    answers = await asyncio.gather(*(h2_read(client, "GET") for _ in range(300)))
    assert answers == [(200, b"GET /p?q ")] * 300
    assert len(server.connections) <= 3


@pytest.mark.usefixtures("engine")
async def test_a_body_over_the_limit(stage: Any) -> None:
    _, port = await stage.serve(echo, max_body_bytes=100_000)
    client = stage.client(port, http2=True)
    for options in ({"body": b"x" * 500_000}, {"body": slowly(b"x" * 50_000, 10)}):
        assert await h2_read(client, "POST", **options) == (400, b"stream too large")
    assert (await h2_read(client, "GET"))[0] == 200


async def slowly(piece: bytes, times: int) -> AsyncIterator[bytes]:
    for _ in range(times):
        yield piece
        await asyncio.sleep(0)


@pytest.mark.usefixtures("engine")
async def test_pieces_flow_both_ways_and_slow_readers_hold_the_sender(stage: Any) -> None:
    made = 0
    closed = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        nonlocal made
        try:
            yield b"first"
            while True:
                made += 1
                yield b"x" * 65_536
        finally:
            closed.set()

    async def stream(request: Request) -> Response:
        return Response(200, [], request.chunks() if request.method == "POST" else body())

    _, port = await stage.serve(stream)
    client = stage.client(port, http2=True)
    response = await client.request("GET", b"/", [])
    chunks = response.chunks()
    assert (await anext(chunks)).startswith(b"first")
    before = -1
    while before != made:
        before = made
        await asyncio.sleep(0.05)
    assert made * 65_536 < 4 << 20
    await chunks.aclose()
    await closed.wait()

    go: asyncio.Queue[bytes] = asyncio.Queue()

    async def sent() -> AsyncIterator[bytes]:
        while piece := await go.get():
            yield piece

    await go.put(b"a")
    response = await client.request("POST", b"/", [], sent())
    chunks = response.chunks()
    assert await anext(chunks) == b"a"
    await go.put(b"b")
    assert await anext(chunks) == b"b"
    await go.put(b"")
    assert [chunk async for chunk in chunks] == []


@pytest.mark.usefixtures("engine")
async def test_cancelled_requests_cancel_their_handlers(stage: Any) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(request: Request) -> Response:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Response()

    server, port = await stage.serve(hang)
    client = stage.client(port, http2=True)
    task = asyncio.create_task(client.request("GET", b"/", []))
    await started.wait()
    assert server.open_requests == 1
    task.cancel()
    await cancelled.wait()
    assert server.open_requests == 0


@pytest.mark.usefixtures("engine")
async def test_draining_finishes_open_streams(stage: Any) -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> Response:
        entered.set()
        await go.wait()
        return await echo(request)

    server, port = await stage.serve(wait)
    client = stage.client(port, http2=True)
    task = asyncio.create_task(h2_read(client, "GET"))
    await entered.wait()
    closing = asyncio.create_task(server.close(5))
    await asyncio.sleep(0.05)
    assert not closing.done()
    go.set()
    assert await task == (200, b"GET /p?q ")
    await closing
    assert not server.connections


# --- single frames ------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
async def test_a_preface_in_single_bytes(stage: Any) -> None:
    wire = await stage.wire(echo)
    peer = Peer.__new__(Peer)
    peer.wire, peer.seen = wire, []
    peer.h2 = h2.connection.H2Connection(h2.config.H2Configuration())
    peer.h2.initiate_connection()
    peer.h2.send_headers(1, GET, end_stream=True)
    for byte in peer.h2.data_to_send():
        wire.send(bytes((byte,)))
        await wire.writer.drain()
        await asyncio.sleep(0)
    response = await peer.until(h2.events.ResponseReceived)
    assert (b":status", b"200") in response.headers
    assert (await peer.until(h2.events.DataReceived)).data == b"GET /x?q "


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("silence", [b"", b"P", b"PRI * HTTP/2.0\r\n"])
async def test_a_peer_that_does_not_go_on_is_cut(stage: Any, silence: bytes) -> None:
    wire = await stage.wire(echo, header_timeout=0.2)
    wire.send(silence)
    async with asyncio.timeout(8):  # 10 s are what is waited otherwise
        while await wire.reader.read(1000):
            pass


@pytest.mark.usefixtures("engine")
async def test_a_body_that_stops_is_given_up(stage: Any) -> None:
    wire = await stage.wire(echo, idle_timeout=0.2)
    peer = Peer(wire)
    peer.h2.send_headers(1, POST)
    peer.h2.send_data(1, b"abc")
    peer.flush()
    response = await peer.until(h2.events.ResponseReceived)
    assert (b":status", b"400") in response.headers
    assert (await peer.until(h2.events.StreamReset)).error_code == 0


async def test_a_stream_the_session_resets_cancels_its_handler(stage: Any) -> None:
    broken = asyncio.Event()

    async def read(request: Request) -> Response:
        try:
            await request.read()
        finally:
            broken.set()
        return Response()

    wire = await stage.wire(read)
    peer = Peer(wire)
    head = [*POST, ("content-length", "10")]
    peer.h2.config.validate_outbound_headers = False
    peer.h2.send_headers(1, head)
    peer.h2.send_data(1, b"abc", end_stream=True)
    peer.flush()
    await peer.until(h2.events.StreamReset)
    await broken.wait()


@pytest.mark.usefixtures("engine")
async def test_garbage_after_the_preface_ends_the_connection(stage: Any) -> None:
    wire = await stage.wire(echo)
    wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100)
    async with asyncio.timeout(8):
        while await wire.reader.read(1000):
            pass


@pytest.mark.usefixtures("engine")
async def test_an_answer_to_a_peer_that_just_broke_the_protocol_is_no_defect(stage: Any) -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    async def answer_a_turn_later(request: Request) -> Response:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)  # by then the session has said goodbye; the connection is not gone
        return await echo(request)

    peer = Peer(await stage.wire(answer_a_turn_later))
    peer.h2.send_headers(1, GET, end_stream=True)
    no_window = b"\x00\x00\x04\x08\x00" + bytes(8)  # WINDOW_UPDATE by nothing
    peer.wire.send(peer.h2.data_to_send() + no_window)
    while await peer.wire.reader.read(65_536):
        pass
    for task in tasks:
        assert task is not None
        await asyncio.wait({task})
        assert task.cancelled() or task.exception() is None


@pytest.mark.usefixtures("engine")
async def test_headers_over_the_limit_end_the_connection(stage: Any) -> None:
    seen: list[Request] = []

    async def keep(request: Request) -> Response:
        seen.append(request)
        return Response()

    wire = await stage.wire(keep)
    peer = Peer(wire)
    peer.h2.send_headers(1, [*GET, *((f"x-{n}", "v" * 100) for n in range(120))], end_stream=True)
    peer.flush()
    with pytest.raises(ConnectionError):
        await peer.until(h2.events.ResponseReceived)
    assert not seen


# --- a server that goes away or refuses ---------------------------------------------------------


def h2_server(answer: Any) -> Any:
    async def play(wire: Wire) -> None:
        peer = Peer(wire, client=False)
        while True:
            event = await peer.until(h2.events.RequestReceived)
            answer(peer, event.stream_id)
            peer.flush()

    return play


@pytest.mark.usefixtures("engine")
async def test_refused_streams_are_sent_again(stage: Any) -> None:
    requests = 0

    def answer(peer: Peer, stream_id: int) -> None:
        nonlocal requests
        requests += 1
        if requests == 1:
            peer.h2.reset_stream(stream_id, 7)
        elif requests == 2:
            peer.h2.close_connection(last_stream_id=0)
        else:
            peer.h2.send_headers(stream_id, [(":status", "200")], end_stream=True)

    client = stage.client(await stage.script(h2_server(answer)), http2=True)
    assert await h2_read(client, "POST", body=b"abc") == (200, b"")
    assert (requests, stage.accepted) == (3, 2)


@pytest.mark.usefixtures("engine")
async def test_a_stream_that_is_reset_fails(stage: Any) -> None:
    def answer(peer: Peer, stream_id: int) -> None:
        peer.h2.send_headers(stream_id, [(":status", "200")])
        peer.h2.send_data(stream_id, b"abc")
        peer.h2.reset_stream(stream_id, 2)

    client = stage.client(await stage.script(h2_server(answer)), http2=True)
    response = await client.request("GET", b"/", [])
    with pytest.raises(ResponseError, match="stream error: stream ID 1; error code 2"):
        await response.read()


@pytest.mark.usefixtures("engine")
async def test_a_server_of_http_1_1_is_told_apart(stage: Any) -> None:
    async def play(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await wire.reader.read()

    client = stage.client(await stage.script(play), http2=True)
    with pytest.raises(ResponseError, match="malformed HTTP response"):
        await client.request("GET", b"/", [])
