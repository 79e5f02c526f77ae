"""The connection to a pluggable component: frozen, gone, back, and sockets of something else."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from harness.pluggable import PluggableProcess, sockets_folder

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import GrpcServer
from dapr_common.kube.resources import Component as Manifest
from dapr_common.wire.dapr.proto.components.v1 import common_pb2
from dapr_sidecar.components.pluggable.link import Link
from dapr_sidecar.components.pluggable.services import STATE
from dapr_sidecar.components.pluggable.sockets import SocketFolder
from dapr_sidecar.components.pluggable.source import PluggableSource
from dapr_sidecar.components.registry import UnknownComponentError

PING = STATE.method("Ping")
PROPERTIES = {"inner": "state.in-memory"}


@pytest.fixture
def folder() -> Iterator[Path]:
    with sockets_folder() as found:
        yield found


@pytest.fixture
async def link(folder: Path) -> AsyncIterator[Link]:
    found = Link(folder / "mine.sock", "s", PROPERTIES, (STATE,))
    yield found
    await found.close()


async def ping(link: Link, seconds: float = 30.0) -> None:
    await link.call(PING, common_pb2.PingRequest(), common_pb2.PingResponse, seconds=seconds)


async def told(process: PluggableProcess) -> int:
    """How often; what it wrote may be read a moment after its answer."""
    await asyncio.to_thread(process.wait_line, "init s ")
    return sum(line.startswith("init s ") for line in process.stdout_lines)


async def test_a_frozen_component_is_given_up_and_serves_again(folder: Path, link: Link) -> None:
    async with PluggableProcess("mine", folder, (STATE.name,)) as process:
        await link.open()
        process.signal(signal.SIGSTOP)
        try:
            with pytest.raises(RpcError) as caught:
                await ping(link, 0.5)
        finally:
            process.signal(signal.SIGCONT)
        assert caught.value.code is GrpcCode.DEADLINE_EXCEEDED
        await ping(link)
        assert await told(process) == 1


async def test_all_who_wait_for_a_new_process_have_it_told_once(folder: Path, link: Link) -> None:
    with PluggableProcess("mine", folder, (STATE.name,)) as first:
        await link.open()
        first.kill_hard()
        with pytest.raises(RpcError):
            await ping(link)
        async with PluggableProcess("mine", folder, (STATE.name,)) as second:
            await link.back(30)
            await asyncio.gather(*(ping(link) for _ in range(50)))
            assert await told(second) == 1
        with pytest.raises(RpcError) as caught:
            await link.back(0)
        assert caught.value.code is GrpcCode.UNAVAILABLE


async def test_what_init_refuses_is_said_and_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for every caller: those that come at once get the answer of the last attempt."""
    monkeypatch.setattr("dapr_sidecar.components.pluggable.link._FIRST_PAUSE", 1.0)
    link = Link(folder / "mine.sock", "s", {"inner": "state.nope"}, (STATE,))
    async with PluggableProcess("mine", folder, (STATE.name,)) as process:
        for asked in (1, 2):
            refusals = await asyncio.gather(
                *(ping(link) for _ in range(20)), return_exceptions=True
            )
            assert {str(one) for one in refusals} == {
                "rpc error: code = NotFound desc = couldn't find state store state.nope/v1"
            }
            await asyncio.to_thread(process.wait_lines, "asked s".__eq__, asked)
            assert process.stdout_lines.count("asked s") == asked
            await asyncio.sleep(1.3)  # the pause, as long as it may be
        await link.close()


async def test_a_server_without_reflection(folder: Path) -> None:
    server = GrpcServer(max_receive_bytes=None)
    await server.listen_unix(str(folder / "mine.sock"))
    source = PluggableSource(SocketFolder(folder), Manifest("s", "state.mine"), "unknown")
    try:
        with pytest.raises(UnknownComponentError, match="does not serve gRPC reflection"):
            await source.kind({})
    finally:
        await server.close(0)


async def test_sockets_of_something_else_are_tried_until_the_time_is_over(folder: Path) -> None:
    tries = asyncio.Semaphore(0)

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.release()
        writer.close()

    server = await asyncio.start_unix_server(hang_up, folder / "mine.sock")
    source = PluggableSource(SocketFolder(folder), Manifest("s", "state.mine"), "unknown")
    async with server:
        waiting = asyncio.ensure_future(source.kind({}))
        async with asyncio.timeout(30):
            for _ in range(3):
                await tries.acquire()
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert source.missing.startswith("unknown: connection error")
