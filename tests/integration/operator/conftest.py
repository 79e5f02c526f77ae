"""One API server with every kind of Dapr's, one sentry; operators are the tests' own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from harness.apiserver import ApiServer, api_server, missing_programs
from harness.authorities import now
from harness.kube_cluster import NAMESPACES, Cluster
from harness.operator import Operator, OperatorClient, install_all_crds
from harness.sentry import Sentry

from dapr_common.kube.api_errors import AlreadyExistsError, NotFoundError
from dapr_common.kube.kinds import CONFIGURATIONS, Kind, KubeObject
from dapr_common.security.authority import Life, new_bundle
from dapr_common.security.svid import Svid

SYSTEM = "dapr-system"
LEASES = Kind("coordination.k8s.io", "v1", "leases")


@pytest.fixture(scope="session")
def kube(sentry: Sentry) -> Iterator[ApiServer]:
    if missing := missing_programs():
        pytest.skip(f"not here: {missing} (tests/cluster/build.py makes them)")
    with api_server() as server:
        asyncio.run(_prepare(server, sentry))
        yield server


async def _prepare(server: ApiServer, sentry: Sentry) -> None:
    mtls = {
        "enabled": True,
        "controlPlaneTrustDomain": "cluster.local",
        "sentryAddress": f"127.0.0.1:{sentry.port}",
    }
    cluster = Cluster(server)
    async with cluster.client:
        await install_all_crds(cluster.client)
        await cluster.client.create(NAMESPACES, {"metadata": {"name": SYSTEM}})
        await cluster.configuration(SYSTEM, "daprsystem", {"mtls": mtls})


@pytest.fixture(scope="session")
def sentry() -> Iterator[Sentry]:
    bundle = new_bundle("cluster.local", SYSTEM, Life.of(now()))
    with Sentry(bundle=bundle, namespace=SYSTEM) as running:
        yield running


@dataclass
class Place:
    """A namespace of applications, and what is in it."""

    cluster: Cluster
    sentry: Sentry
    apps: str

    def operator(self, *flags: str, **more: Any) -> Operator:
        return Operator(
            self.cluster.server, self.sentry, flags=flags, **{"env": self._env(), **more}
        )

    def _env(self) -> dict[str, str]:
        return {}

    async def svid(self, app_id: str, namespace: str = "") -> Svid:
        signed = await asyncio.to_thread(
            lambda: self.sentry.sign(id=app_id, namespace=namespace or self.apps)
        )
        return signed.svid

    async def sidecar(
        self, operator: Operator, app_id: str = "orders", namespace: str = ""
    ) -> OperatorClient:
        server_id = f"spiffe://cluster.local/ns/{SYSTEM}/dapr-operator"
        return OperatorClient(operator.port, await self.svid(app_id, namespace), server_id)

    async def apply(
        self, kind: Kind, word: str, name: str, body: Mapping[str, Any], namespace: str = ""
    ) -> KubeObject:
        """As ``kubectl apply`` does, as far as anybody else can tell."""
        version = f"{kind.group}/{kind.version}"
        named = {"apiVersion": version, "kind": word, "metadata": {"name": name}, **body}
        return await self.cluster.client.patch(
            kind,
            name,
            named,
            namespace or self.apps,
            patch_kind="apply",
            field_manager="tests",
        )

    async def component(
        self,
        name: str,
        metadata: Sequence[Mapping[str, Any]] = (),
        *,
        type: str = "state.in-memory",
        namespace: str = "",
        **more: Any,
    ) -> KubeObject:
        spec = {"type": type, "version": "v1", "metadata": list(metadata)}
        kind = Kind("dapr.io", "v1alpha1", "components")
        return await self.apply(kind, "Component", name, {"spec": spec, **more}, namespace)

    async def secret(self, name: str, **values: str) -> None:
        kind = Kind("", "v1", "secrets")
        body = {"metadata": {"name": name}, "stringData": values}
        try:
            await self.cluster.client.create(kind, body, self.apps)
        except AlreadyExistsError:
            await self.cluster.client.patch(kind, name, body, self.apps)


@pytest.fixture
async def place(kube: ApiServer, sentry: Sentry) -> AsyncIterator[Place]:
    cluster = Cluster(kube)
    async with cluster.client:
        try:
            await cluster.client.delete(LEASES, "operator.dapr.io", SYSTEM)
        except NotFoundError:
            pass
        apps = await cluster.namespace("apps")
        yield Place(cluster, sentry, apps)


@pytest.fixture
async def operator(place: Place) -> AsyncIterator[Operator]:
    async with place.operator() as running:
        yield running


@pytest.fixture
def unique() -> str:
    return secrets.token_hex(4)


__all__ = ["CONFIGURATIONS", "SYSTEM", "Place"]
