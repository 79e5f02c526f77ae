"""Streams of logs: bounded in number, over when nobody reads, and what they say when one fails."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer, get_port_socket

from dapr_dashboard.api import streams
from dapr_dashboard.facts import Facts
from dapr_dashboard.history import History
from dapr_dashboard.model import App, LogLine, Place, SourceError
from dapr_dashboard.server import Dashboard
from dapr_dashboard.sidecars import Sidecars

PATH = "/api/instances/All/orders/logstreams/daprd"
BIG = "x" * 50_000


class Talking:
    """One app with as many ``replicas`` as said, whose log is long, or fails, or is silent."""

    title, platform = "nothing", "kubernetes"

    def __init__(self, lines: int, replicas: int = 1) -> None:
        self.count = lines
        self.replicas = replicas
        self.open = 0
        self.followed: list[bool] = []

    async def apps(self) -> list[App]:
        created = datetime(2026, 1, 1, tzinfo=UTC)
        return [
            App(
                namespace="ns",
                name=f"pod-{number}",
                app_id="orders",
                created=created,
                place=Place(),
                pod={"metadata": {"name": f"pod-{number}"}},
            )
            for number in range(self.replicas)
        ]

    def logs(self, app: App) -> tuple[str, ...]:
        return ("daprd",)

    async def lines(
        self, app: App, name: str, *, last: int, follow: bool
    ) -> AsyncGenerator[LogLine, None]:
        self.open += 1
        self.followed.append(follow)
        try:
            for number in range(self.count):
                yield LogLine(f"{app.name} {number} {BIG if self.count > 1000 else ''}".strip(), 1)
            if self.count == 1:
                raise SourceError("the pod is gone")
            if self.count == 0:
                await asyncio.Event().wait()
        finally:
            self.open -= 1


@asynccontextmanager
async def served(source: Talking) -> AsyncIterator[TestClient[Any, Any]]:
    facts = Facts(cast(Any, source), Sidecars())
    app = Dashboard(facts, History(facts.source, facts.sidecars, 5.0)).application()
    async with TestClient(TestServer(app, socket_factory=listening)) as client:
        yield client


def listening(host: str, port: int, family: socket.AddressFamily) -> socket.socket:
    """Buffers as small as can be: what fills them has to be looked through for secrets first."""
    found = get_port_socket(host, port, family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return found


async def over(source: Talking) -> None:
    async with asyncio.timeout(30):
        while source.open:
            await asyncio.sleep(0.01)


async def test_who_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_SEND_SECONDS", 0.2)
    source = Talking(1_000_000)
    async with served(source) as client:
        # A window that stays small: the client reads no further than its queue.
        patience = aiohttp.ClientWSTimeout(ws_close=0.1)  # it would wait for what it does not read
        stream = await client.ws_connect(PATH, timeout=patience)
        assert stream._response.connection is not None
        assert stream._response.connection.transport is not None
        stream._response.connection.transport.pause_reading()  # type: ignore[attr-defined]
        await over(source)
        await stream.close()


async def test_who_goes_away_ends_the_stream() -> None:
    source = Talking(1_000_000)
    async with served(source) as client:
        stream = await client.ws_connect(PATH)
        assert (await stream.receive_json())["container"] == "daprd"
        await stream.close()
        await over(source)


async def test_how_many_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_MOST_STREAMS", 2)
    source = Talking(0)
    async with served(source) as client:
        sockets = [await client.ws_connect(PATH) for _ in range(2)]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(PATH)
        assert refused.value.status == 503
        for stream in sockets:
            await stream.close()
        await over(source)
        await (await client.ws_connect(PATH)).close()


async def test_a_log_that_fails_says_why() -> None:
    async with served(Talking(1)) as client:
        stream = await client.ws_connect(PATH)
        assert (await stream.receive_json())["content"] == "pod-0 0"
        end = await stream.receive()
        assert (end.data, end.extra) == (aiohttp.WSCloseCode.INTERNAL_ERROR, "the pod is gone")


async def test_of_several_replicas_what_is_there() -> None:
    source = Talking(2, replicas=2)
    async with served(source) as client:
        stream = await client.ws_connect(PATH)
        said = [(await stream.receive_json())["content"] for _ in range(4)]
        assert said == ["pod-0 0", "pod-0 1", "pod-1 0", "pod-1 1"]
        assert (await stream.receive()).data == aiohttp.WSCloseCode.OK
        assert source.followed == [False, False]
