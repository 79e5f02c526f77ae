"""One real API server for all tests here; each test has its own control plane in it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from harness.apiserver import ApiServer, api_server, missing_programs
from harness.injector import NAME, Injector, InjectorPlace
from harness.kube_cluster import CRDS, Cluster
from harness.sentry import Sentry

from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.kinds import MUTATING_WEBHOOKS
from dapr_common.kube.yaml_text import load_yaml

_COMPONENTS = Path(__file__).parents[3] / "crds" / "components.yaml"


@pytest.fixture(scope="session")
def kube() -> Iterator[ApiServer]:
    if missing := missing_programs():
        pytest.skip(f"not here: {missing} (tests/cluster/build.py makes them)")
    with api_server() as server:
        yield server


@pytest.fixture
async def place(kube: ApiServer) -> AsyncIterator[InjectorPlace]:
    """Without a registration, and none is left: its name is the same everywhere."""
    cluster = Cluster(kube)
    async with cluster.client:
        await cluster.install_crds()
        try:
            await cluster.client.get(CRDS, "components.dapr.io")
        except NotFoundError:
            await cluster.client.create(CRDS, load_yaml(_COMPONENTS.read_text()))
        try:
            yield await InjectorPlace.make(cluster)
        finally:
            with contextlib.suppress(NotFoundError):
                await cluster.client.delete(MUTATING_WEBHOOKS, NAME)


@pytest.fixture
async def sentry(place: InjectorPlace) -> AsyncIterator[Sentry]:
    """One that runs; the injector's file has its trust anchors."""
    async with await place.sentry() as sentry:
        await place.project()
        yield sentry


@pytest.fixture
async def injector(place: InjectorPlace, sentry: Sentry) -> AsyncIterator[Injector]:
    """One that the API server asks."""
    await place.register()
    async with place.injector(sentry) as injector:
        await place.until_injected()
        yield injector
