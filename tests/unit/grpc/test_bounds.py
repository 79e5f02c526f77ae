"""What a server bounds for its own sake: the time of a call, handshakes at a time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from typing import Any

import pytest
import trustme

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError

UNARY, STALL = "/test.Echo/Unary", "/test.Echo/Stall"
SLOTS = 2


@pytest.mark.parametrize("timeout", [None, 20.0])
async def test_no_call_lasts_longer_than_the_server_allows(
    stage: Any, timeout: float | None
) -> None:
    channel = await stage.pair(max_call_seconds=1.0)  # the last call must do with it, too
    began = time.monotonic()
    with pytest.raises(RpcError) as caught:
        await channel.unary(UNARY, b"hang", timeout=timeout)
    assert caught.value.code == GrpcCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 10
    await asyncio.wait_for(stage.echo.cancelled.wait(), 20)
    await channel.unary(UNARY, b"others go on")


async def test_a_client_may_allow_less(stage: Any) -> None:
    channel = await stage.pair(max_call_seconds=20.0)
    began = time.monotonic()
    with pytest.raises(RpcError) as caught:
        await channel.unary(UNARY, b"hang", timeout=0.1)
    assert caught.value.code == GrpcCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 10


# --- handshakes ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def port(stage: Any, authority: trustme.CA) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = await stage.server()
    return await server.listen_tcp("127.0.0.1", 0, ssl=context, max_handshakes=SLOTS)


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    authority.configure_trust(context)
    return context


async def test_a_crowd_is_served_and_the_first_before_the_last(
    stage: Any, port: int, trusting: ssl.SSLContext
) -> None:
    answered: list[int] = []

    async def ask(number: int, channel: GrpcChannel) -> None:
        await channel.unary(UNARY, b"hello", timeout=20)
        answered.append(number)

    crowd = [stage.channel(f"127.0.0.1:{port}", ssl=trusting) for _ in range(40)]
    await asyncio.gather(*(ask(number, one) for number, one in enumerate(crowd)))
    assert sorted(answered) == list(range(40))
    # Whoever came in the first half was not made to wait for the other half.
    assert sum(answered.index(number) for number in range(20)) < 20 * 20


async def test_the_silent_and_those_who_fail_do_not_keep_others_out(
    stage: Any, port: int, trusting: ssl.SSLContext
) -> None:
    with contextlib.ExitStack() as silent:
        for number in range(3 * SLOTS):
            one = silent.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            if number % 2:
                one.sendall(b"this is no handshake\r\n\r\n")
        channel = stage.channel(f"127.0.0.1:{port}", ssl=trusting)
        assert (await channel.unary(UNARY, b"hello", timeout=20)).message == b"hello"


async def test_closing_leaves_nothing_behind(
    stage: Any, port: int, trusting: ssl.SSLContext
) -> None:
    with socket.create_connection(("127.0.0.1", port), 5):
        channel = stage.channel(f"127.0.0.1:{port}", ssl=trusting)
        await channel.unary(UNARY, b"hello", timeout=20)
        await stage.servers[0].close(0)
    left = [task for task in asyncio.all_tasks() if task.get_name() in ("accept", "handshake")]
    if left:
        await asyncio.wait(left, timeout=20)
    assert all(task.done() for task in left)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
