"""The log of a container, from a stand-in for the API server: test servers have no kubelet."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from harness.fake_api_server import failure, fake_api_server

from dapr_common.http.messages import Response
from dapr_dashboard.model import App, Place, SourceError
from dapr_dashboard.sidecars import Sidecars
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
