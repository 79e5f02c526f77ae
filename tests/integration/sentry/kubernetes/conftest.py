"""One real API server for all tests here; each test makes its own namespaces in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from harness.apiserver import ApiServer, api_server, missing_programs
from harness.kube_cluster import Cluster


@pytest.fixture(scope="session")
def kube() -> Iterator[ApiServer]:
    if missing := missing_programs():
        pytest.skip(f"not here: {missing} (`make cluster-tools` makes them)")
    with api_server() as server:
        yield server


@pytest.fixture
async def cluster(kube: ApiServer) -> AsyncIterator[Cluster]:
    found = Cluster(kube)
    async with found.client:
        await found.install_crds()
        yield found
