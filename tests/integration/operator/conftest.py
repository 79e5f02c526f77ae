"""One API server with every kind of Dapr's, one sentry; operators are the tests' own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from harness.apiserver import ApiServer, api_server, missing_programs
from harness.authorities import now
from harness.kube_cluster import NAMESPACES, Cluster
from harness.operator_process import Operator, OperatorClient, install_all_crds
from harness.sentry import Sentry

from dapr_common.kube.api_errors import AlreadyExistsError, NotFoundError
from dapr_common.kube.kinds import EVENTS, LEASES, SECRETS, Kind, KubeObject, Selection
from dapr_common.security.authority import Life, new_bundle
from dapr_common.security.svid import Svid
from dapr_operator.kinds import COMPONENT, DEPLOYMENTS

SYSTEM = "dapr-system"


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
        return Operator(self.cluster.server, self.sentry, flags=flags, **more)

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
        namespace: str = "",
        **more: Any,
    ) -> KubeObject:
        spec = {"type": "state.in-memory", "version": "v1", "metadata": list(metadata)}
        return await self.apply(
            COMPONENT.kind, "Component", name, {"spec": spec, **more}, namespace
        )

    async def secret(self, name: str, **values: str) -> None:
        body = {"metadata": {"name": name}, "stringData": values}
        try:
            await self.cluster.client.create(SECRETS, body, self.apps)
        except AlreadyExistsError:
            await self.cluster.client.patch(SECRETS, name, body, self.apps)

    async def deployment(self, name: str, app_id: str) -> KubeObject:
        """One whose pods want sidecars, and for which nobody makes pods."""
        labels = {"app": name}
        annotations = {"dapr.io/enabled": "true", "dapr.io/app-id": app_id}
        template = {
            "metadata": {"labels": labels, "annotations": annotations},
            "spec": {"containers": [{"name": "app", "image": "none"}]},
        }
        spec = {"selector": {"matchLabels": labels}, "template": template}
        body = {"metadata": {"name": name}, "spec": spec}
        return await self.cluster.client.create(DEPLOYMENTS, body, self.apps)

    async def until(
        self,
        kind: Kind,
        name: str,
        accept: Callable[[KubeObject], object] = lambda _: True,
        *,
        namespace: str = "",
        seconds: float = 40.0,
    ) -> KubeObject:
        """An object as soon as it is there and is accepted."""
        found: KubeObject = {}
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        found = await self.cluster.client.get(kind, name, namespace or self.apps)
                    except NotFoundError:
                        found = {}
                    if found and accept(found):
                        return found
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{kind.plural} {name} stayed like this: {found}") from None

    async def event(self, reason: str, words: str) -> KubeObject:
        """A Kubernetes event, waited for."""
        async with asyncio.timeout(40):
            while True:
                listing = await self.cluster.client.list_all(Selection(EVENTS, self.apps))
                for found in listing.items:
                    if found["reason"] == reason and words in found["message"]:
                        return found
                await asyncio.sleep(0.05)


@pytest.fixture
async def place(kube: ApiServer, sentry: Sentry) -> AsyncIterator[Place]:
    cluster = Cluster(kube)
    async with cluster.client:
        with contextlib.suppress(NotFoundError):  # of an operator that was killed
            await cluster.client.delete(LEASES, "operator.dapr.io", SYSTEM)
        apps = await cluster.namespace("apps")
        yield Place(cluster, sentry, apps)


@pytest.fixture
async def operator(place: Place) -> AsyncIterator[Operator]:
    async with place.operator() as running:
        yield running
