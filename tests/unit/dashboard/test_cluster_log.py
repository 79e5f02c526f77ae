"""The log of a container, from a stand-in for the API server: test servers have no kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest
from harness.fake_api_server import FakeApiServer, failure, fake_api_server

from dapr_cli.kube import pod_log
from dapr_common.http.messages import Response
from dapr_dashboard.model import App, LogLine, Place, SourceError
from dapr_dashboard.sidecars import Sidecars
from dapr_dashboard.sources import pod_lines
from dapr_dashboard.sources.cluster import ClusterSource

APP = App(
    namespace="ns",
    name="pod",
    app_id="orders",
    created=datetime(2026, 1, 1, tzinfo=UTC),
    place=Place(),
    containers=("app", "daprd"),
)


async def test_the_end_of_a_log_is_asked_for_and_bounded() -> None:
    async with fake_api_server() as fake:
        source = ClusterSource(fake.login, Sidecars(), namespace="", system="", inside=True)
        assert source.logs(APP) == ("app", "daprd")
        fake.line.append(Response(200, [], b"x" * (2 << 20) + b"\nlast\n"))
        text = await source.log(APP, "daprd")
        assert fake.asked == [
            ("GET", "/api/v1/namespaces/ns/pods/pod/log", "container=daprd&tailLines=2000")
        ]
        assert len(text) == 1 << 20
        assert text.endswith("\nlast\n")
        await source.close()


async def test_a_log_that_may_not_be_read() -> None:
    async with fake_api_server() as fake:
        source = ClusterSource(fake.login, Sidecars(), namespace="", system="", inside=True)
        fake.line.append(failure(403, "Forbidden"))
        with pytest.raises(SourceError, match="pods/pod/log"):
            await source.log(APP, "daprd")
        await source.close()


async def lines(fake: FakeApiServer, *, follow: bool) -> list[LogLine]:
    source = ClusterSource(fake.login, Sidecars(), namespace="", system="", inside=True)
    return [line async for line in source.lines(APP, "daprd", last=100, follow=follow)]


async def test_lines_come_with_their_times() -> None:
    async with fake_api_server() as fake:
        body = (
            b"2026-11-26T10:00:00.000000001Z one\n"
            b"unable to retrieve container logs\n"
            b"2026-11-26T10:00:01.5Z two words"
        )
        fake.line.append(Response(200, [], body))
        assert await lines(fake, follow=True) == [
            LogLine("one", 1795687200000000001),
            LogLine("two words", 1795687201500000000),
        ]
        (asked,) = fake.asked
        assert asked[2] == "container=daprd&tailLines=100&follow=true&timestamps=true"


async def test_a_stream_that_breaks_is_begun_anew_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No line comes twice, and none is left out."""
    monkeypatch.setattr(pod_lines, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(pod_log, "_IDLE_SECONDS", 2.0)
    monkeypatch.setattr(pod_lines, "_QUICK_SECONDS", 1.0)
    first = b"2026-11-26T10:00:00.1Z one\n2026-11-26T10:00:00.2Z two\n"
    second = b"2026-11-26T10:00:00.2Z two\n2026-11-26T10:00:00.3Z three\n"

    async def silent() -> AsyncGenerator[bytes, None]:
        yield first
        await asyncio.Event().wait()

    async with fake_api_server() as fake:
        fake.line.append(Response(200, [], silent()))
        fake.line.append(Response(200, [], second))
        assert [line.text for line in await lines(fake, follow=True)] == ["one", "two", "three"]
        assert "sinceTime=2026-11-26T10:00:00Z" in fake.asked[1][2]
        assert "tailLines" not in fake.asked[1][2]


async def test_without_following_lines_are_as_they_are() -> None:
    async with fake_api_server() as fake:
        fake.line.append(Response(200, [], b"2026-11-26 10:00:00 one\n\nlast"))
        found = await lines(fake, follow=False)
        assert [line.text for line in found] == ["2026-11-26 10:00:00 one", "", "last"]
        assert found[0].nanoseconds == 1795687200000000000


async def test_an_api_server_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_lines, "_PAUSE_SECONDS", 0.0)
    async with fake_api_server() as fake:
        login = fake.login
    source = ClusterSource(login, Sidecars(), namespace="", system="", inside=True)
    with pytest.raises(SourceError, match="GET /api/v1"):
        await anext(source.lines(APP, "daprd", last=100, follow=True))
