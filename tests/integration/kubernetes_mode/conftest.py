"""One control plane for all tests here; each test has a namespace of applications."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from harness.apiserver import missing_programs
from harness.cluster_apps import ControlPlane, Place, running_control_plane
from harness.kube_cluster import Cluster
from harness.operator_process import Operator


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    if missing := missing_programs():
        pytest.skip(f"not here: {missing} (tests/cluster/build.py makes them)")
    with running_control_plane() as running:
        yield running


@pytest.fixture(scope="session")
def operator(control_plane: ControlPlane) -> Iterator[Operator]:
    with control_plane.operator() as running:
        yield running


@pytest.fixture
async def place(
    control_plane: ControlPlane, operator: Operator, tmp_path: Path
) -> AsyncIterator[Place]:
    cluster = Cluster(control_plane.server)
    async with cluster.client:
        apps = await cluster.namespace("apps")
        await cluster.account(apps, "app")
        yield Place(control_plane, cluster, apps, tmp_path, operator.port)
