"""One shop for each collector."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.backends import Backends
from harness.redis_server import is_available
from integration.tracing.collectors import ALL, Collector
from integration.tracing.shop import Shop, running_shop


@pytest.fixture(scope="module", params=ALL, ids=lambda kind: kind.__name__.lower())
def collector(request: pytest.FixtureRequest, backends: Backends) -> Collector:
    if not is_available():
        pytest.skip("redis-server is not installed")
    kind: type[Collector] = request.param
    return kind(backends.shared(kind.backend_name))


@pytest.fixture(scope="module")
def shop(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    tracing = {"samplingRate": "1", **collector.settings()}
    with running_shop(tmp_path_factory.mktemp("names"), tracing) as found:
        yield found
