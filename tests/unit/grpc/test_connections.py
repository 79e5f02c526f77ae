"""Connections under stress: slow peers, pings, GOAWAY, broken frames, large headers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from harness.programs import free_port

from dapr_common.errors import GrpcCode
from dapr_common.grpc.backoff import Backoff
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.wire import frame

HEAD = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/test.Echo/Unary"),
    (":authority", "a"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


class Peer:
    """The ``h2`` library on a raw connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, client: bool = True
    ) -> None:
        self.reader, self.writer = reader, writer
        config = h2.config.H2Configuration(
            client_side=client, validate_outbound_headers=False, header_encoding="utf-8"
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.seen: list[Any] = []
        self.flush()

    @classmethod
    async def connect(cls, target: str) -> Peer:
        host, _, port = target.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def call(self, path: str = "/test.Echo/Unary", *, data: bytes | None, **more: str) -> int:
        number = self.h2.get_next_available_stream_id()
        head = [(name, path if name == ":path" else value) for name, value in HEAD]
        head += [(name.replace("_", "-"), value) for name, value in more.items()]
        self.h2.send_headers(number, head)
        if data is not None:
            self.h2.send_data(number, data, end_stream=True)
        self.flush()
        return number

    async def until(self, kind: type) -> Any:
        while True:
            for event in self.seen:
                if isinstance(event, kind):
                    self.seen.remove(event)
                    return event
            data = await self.reader.read(65_536)
            if not data:
                raise ConnectionError("closed")
            self.seen += self.h2.receive_data(data)
            self.flush()

    def close(self) -> None:
        self.writer.transport.abort()


async def settled(value: Callable[[], int]) -> int:
    """A count once it stands still."""
    before = -1
    while before != value():
        before = value()
        await asyncio.sleep(0.05)
    return before


# --- slow peers ---------------------------------------------------------------------------------


async def test_a_server_stream_waits_for_a_client_that_does_not_read(stage: Any) -> None:
    target = await stage.listen()
    peer = await Peer.connect(target)
    peer.call("/test.Echo/Expand", data=frame(b"1000000"))
    await peer.until(h2.events.DataReceived)  # its window is 64 KiB and is not given back
    connection = next(iter(stage.servers[0].connections))
    while not connection.session.queued_body_size():
        await asyncio.sleep(0.01)
    queued = await settled(connection.session.queued_body_size)
    assert queued < 1 << 20
    peer.close()
    await stage.echo.cancelled.wait()


async def test_our_client_holds_a_server_it_does_not_read_from(stage: Any) -> None:
    channel = await stage.pair()
    call = await channel.open("/test.Echo/Expand", frames=frame(b"1000000"))
    await call.next_message()
    held = await settled(lambda: len(call._messages))
    assert held * 1000 < 2 << 20
    call.cancel()
    await stage.echo.cancelled.wait()


async def test_a_client_stream_waits_for_a_server_that_does_not_read(stage: Any) -> None:
    channel = await stage.pair()
    call = await channel.open("/test.Echo/Stall")
    sent = 0

    async def send() -> None:
        nonlocal sent
        for _ in range(100):
            await call.send(b"x" * 65_536)
            sent += 1
        await call.half_close()

    task = asyncio.create_task(send())
    await stage.echo.started.wait()
    assert await settled(lambda: sent) * 65_536 < 3 << 20
    stage.echo.release.set()
    await task
    assert await call.only_message() == b"6553600"


# --- headers ------------------------------------------------------------------------------------


async def test_headers_the_server_does_not_take_are_not_sent(stage: Any) -> None:
    channel = await stage.pair(max_header_list_bytes=8192)
    other = asyncio.create_task(channel.unary("/test.Echo/Unary", b"hang"))
    await stage.echo.started.wait()
    with pytest.raises(RpcError) as caught:
        await channel.unary("/test.Echo/Unary", b"x", metadata=[("big", "v" * 9000)])
    assert caught.value.code is GrpcCode.INTERNAL
    assert "violates the maximum size (8192 bytes) set by server" in caught.value.message
    result = await channel.unary("/test.Echo/Unary", b"x", metadata=[("big", "v" * 7000)])
    assert result.message == b"x"
    stage.echo.release.set()
    assert (await other).message == b"hang"


@pytest.mark.parametrize("length", [5000, 50_000, 500_000])
async def test_an_error_is_as_long_as_the_client_takes(stage: Any, length: int) -> None:
    channel = await stage.pair()
    other = asyncio.create_task(channel.unary("/test.Echo/Unary", b"hang"))
    await stage.echo.started.wait()
    with pytest.raises(RpcError) as caught:
        await channel.unary("/test.Echo/Unary", b"long error %d" % length)
    assert caught.value.code is GrpcCode.INTERNAL
    text, dots, rest = caught.value.message.partition("...")
    assert not text.strip("ü")
    assert (len(text) == length, bool(dots), rest) == (length == 5000, length > 5000, "")
    assert len(text) >= 5000
    stage.echo.release.set()
    assert (await other).message == b"hang"  # the connection they share stays


async def test_an_error_for_a_client_that_takes_any_length_is_one_the_session_can_send(
    stage: Any,
) -> None:
    peer = await Peer.connect(await stage.listen())
    peer.h2.update_settings({h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 16 << 20})
    peer.call(data=frame(b"long error 500000"))
    answer = await peer.until(h2.events.ResponseReceived)
    message = dict(answer.headers)["grpc-message"]
    assert message.endswith("%BC...")
    assert len(message) > 30_000
    peer.close()


async def test_a_client_that_sends_them_all_the_same_loses_its_connection(stage: Any) -> None:
    peer = await Peer.connect(await stage.listen(max_header_list_bytes=8192))
    peer.call(data=frame(b"x"), **{f"n-{n}": "v" * 500 for n in range(30)})
    with pytest.raises(ConnectionError):
        await peer.until(h2.events.ResponseReceived)
    assert not stage.echo.contexts
    peer.close()


# --- streams that break -------------------------------------------------------------------------


async def test_a_reset_cancels_the_handler(stage: Any) -> None:
    peer = await Peer.connect(await stage.listen())
    number = peer.call(data=frame(b"hang"))
    await stage.echo.started.wait()
    peer.h2.reset_stream(number, 8)
    peer.flush()
    await stage.echo.cancelled.wait()
    peer.close()


@pytest.mark.parametrize("engine", ["ngh2"], indirect=True)
async def test_a_stream_the_session_resets_ends_its_call_at_once(stage: Any) -> None:
    peer = await Peer.connect(await stage.listen())
    peer.call("/test.Echo/Count", data=frame(b"x"), content_length="100")
    assert (await peer.until(h2.events.StreamReset)).error_code == 1
    connection = next(iter(stage.servers[0].connections))
    while connection.streams:
        await asyncio.sleep(0)
    peer.close()


async def test_garbage_ends_the_connection(stage: Any) -> None:
    host, _, port = (await stage.listen()).rpartition(":")
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 99):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(garbage)
        with suppress(ConnectionError):
            while await reader.read(1000):
                pass
        writer.close()


async def test_a_server_that_speaks_something_else(stage: Any) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        with suppress(ConnectionError):
            await reader.read()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(RpcError, match="error reading server preface") as caught:
        await stage.channel(f"127.0.0.1:{port}").unary("/a.B/C", b"")
    assert caught.value.code is GrpcCode.UNAVAILABLE
    server.close()


# --- GOAWAY -------------------------------------------------------------------------------------


async def test_calls_above_the_last_stream_are_made_again_elsewhere(stage: Any) -> None:
    accepted = 0

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        first = accepted == 1
        peer = Peer(reader, writer, client=False)
        with suppress(ConnectionError):
            number = (await peer.until(h2.events.RequestReceived)).stream_id
            if first:
                peer.h2.close_connection(last_stream_id=0)
            else:
                await peer.until(h2.events.StreamEnded)
                peer.h2.send_headers(number, [(":status", "200"), HEAD[-1]])
                peer.h2.send_data(number, frame(b"second"))
                peer.h2.send_headers(number, [("grpc-status", "0")], end_stream=True)
            peer.flush()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    channel = stage.channel(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert (await channel.unary("/a.B/C", b"x")).message == b"second"
    assert accepted == 2
    await channel.close()
    server.close()


async def test_draining_finishes_calls_and_the_client_goes_elsewhere(stage: Any) -> None:
    server = await stage.server()
    port = await server.listen_tcp("127.0.0.1", free_port())  # the successor is to get it, too
    channel = stage.channel(f"127.0.0.1:{port}", backoff=Backoff(0.01, 0.02))
    open_call = asyncio.create_task(channel.unary("/test.Echo/Unary", b"hang"))
    await stage.echo.started.wait()
    closing = asyncio.create_task(server.close(10))
    while channel._connections:  # a call made before the client has read GOAWAY is still served
        await asyncio.sleep(0.01)
    with pytest.raises(RpcError, match="connection refused"):
        await channel.unary("/test.Echo/Unary", b"new")
    successor = await stage.server()
    await successor.listen_tcp("127.0.0.1", port)
    await asyncio.sleep(0.05)
    assert (await channel.unary("/test.Echo/Unary", b"new")).message == b"new"
    assert not closing.done()
    stage.echo.release.set()
    assert (await open_call).message == b"hang"
    await closing


# --- pings and silence --------------------------------------------------------------------------


async def test_pings_that_come_too_often_are_punished(stage: Any) -> None:
    peer = await Peer.connect(await stage.listen(min_client_ping_interval=60))
    for _ in range(5):
        peer.h2.ping(b"12345678")
        peer.flush()
    goaway = await peer.until(h2.events.ConnectionTerminated)
    assert (goaway.error_code, goaway.additional_data) == (0xB, b"too_many_pings")
    peer.close()


async def test_pings_between_answers_are_not_punished(stage: Any) -> None:
    peer = await Peer.connect(await stage.listen(min_client_ping_interval=60))
    for _ in range(6):
        peer.h2.ping(b"12345678")
        peer.call(data=frame(b"x"))
        await peer.until(h2.events.StreamEnded)
    peer.close()


async def test_a_client_that_answers_no_ping_is_cut(stage: Any) -> None:
    target = await stage.listen(ping_interval=0.05, ping_timeout=0.1)
    host, _, port = target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    peer = h2.connection.H2Connection()
    peer.initiate_connection()
    writer.write(peer.data_to_send())
    with suppress(ConnectionError):
        while await reader.read(1000):
            pass
    writer.close()


async def test_a_server_that_answers_no_ping_fails_the_calls(stage: Any) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        peer.initiate_connection()
        writer.write(peer.data_to_send())
        with suppress(ConnectionError):
            while await reader.read(1000):
                pass
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    channel = stage.channel(target, ping_interval=0.05, ping_timeout=0.1)
    with pytest.raises(RpcError, match="keepalive ping failed to receive ACK") as caught:
        await channel.unary("/a.B/C", b"")
    assert caught.value.code is GrpcCode.UNAVAILABLE
    server.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="an option of Linux")
async def test_a_host_that_vanished_is_noticed_by_what_it_leaves_unacknowledged(stage: Any) -> None:
    """tests/hosting sees it happen; here the kernel has only been told."""
    channel = stage.channel(await stage.listen(), ping_interval=10.0, ping_timeout=3.0)
    await channel.unary("/test.Echo/Unary", b"x")
    (connection,) = channel._connections
    opened = connection._transport.get_extra_info("socket")
    assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 3000
    assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_idle_connections_are_closed_from_either_side(stage: Any) -> None:
    channel = await stage.pair(max_idle=0.1)
    await channel.unary("/test.Echo/Unary", b"x")
    while stage.servers[0].connections:
        await asyncio.sleep(0.01)
    assert (await channel.unary("/test.Echo/Unary", b"y")).message == b"y"
    channel = stage.channel(await stage.listen(), idle_timeout=0.1)
    await channel.unary("/test.Echo/Unary", b"x")
    while channel.connected:
        await asyncio.sleep(0.01)
    assert (await channel.unary("/test.Echo/Unary", b"y")).message == b"y"
