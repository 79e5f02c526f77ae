"""``dapr ... -k`` against a real API server, as its administrator; no node, no pod ever runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster.programs import path as built
from harness.apiserver import ApiServer, api_server, missing_programs
from harness.cli import Dapr
from harness.kube_cluster import Cluster
from harness.operator_process import install_all_crds

from dapr_common.kube.kinds import PODS, Selection


@dataclass(frozen=True)
class Cli:
    """The command line with the cluster's kubeconfig."""

    home: Path
    server: ApiServer

    async def __call__(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Call it and wait for its end, a minute at most."""
        path = os.pathsep.join((str(built("helm").parent), os.environ["PATH"]))
        own = {"KUBECONFIG": str(self.server.admin), "PATH": path, **env}
        return await asyncio.to_thread(lambda: Dapr(self.home)(*arguments, env=own))

    async def out(self, *arguments: str, **env: str) -> str:
        """What it prints when it does what it was asked."""
        done = await self(*arguments, **env)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout


@pytest.fixture(scope="session")
def helm() -> str:
    """The program that installs."""
    found = str(built("helm")) if built("helm").exists() else shutil.which("helm")
    if not found:
        pytest.skip("not here: helm (`make cluster-tools` gets it)")
    return found


@pytest.fixture(scope="session")
def kube() -> Iterator[ApiServer]:
    with _started() as server:
        yield server


@pytest.fixture(scope="module")
def own_kube(helm: str) -> Iterator[ApiServer]:
    """For modules that install Dapr by Helm: the names of its objects are fixed."""
    with _started() as server:
        yield server


@contextlib.contextmanager
def _started() -> Iterator[ApiServer]:
    if missing := missing_programs():
        pytest.skip(f"not here: {missing} (tests/cluster/build.py makes them)")
    with api_server() as server:
        yield server


@pytest.fixture
async def cluster(kube: ApiServer) -> AsyncIterator[Cluster]:
    found = Cluster(kube)
    async with found.client:
        await install_all_crds(found.client)
        yield found
        # Pods of a control plane are seen from every namespace, so by the tests that follow, too.
        for pod in (await found.client.list_all(Selection(PODS))).items:
            metadata = pod["metadata"]
            if str(metadata.get("labels", {}).get("app", "")).startswith("dapr-"):
                await found.client.delete(PODS, metadata["name"], metadata["namespace"])


@pytest.fixture
def dapr(kube: ApiServer, tmp_path: Path) -> Cli:
    return Cli(tmp_path, kube)
