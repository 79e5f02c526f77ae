"""The Kubernetes client against a real API server, which also goes away and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from harness.apiserver import ApiServer, api_server, missing_programs
from harness.kube_cluster import ACCOUNTS, NAMESPACES, Cluster

from dapr_common.kube.api_errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
    UnreachableError,
)
from dapr_common.kube.client import KubeClient
from dapr_common.kube.informer import Informer
from dapr_common.kube.kinds import CONFIG_MAPS, CONFIGURATIONS, KubeObject, Selection
from dapr_common.kube.login import kubeconfig_login, service_account_login


@pytest.fixture(scope="module")
def kube() -> Iterator[ApiServer]:
    if missing := missing_programs():
        pytest.skip(f"not here: {missing} (tests/cluster/build.py gets them)")
    with api_server() as server:
        yield server


@pytest.fixture
async def cluster(kube: ApiServer) -> AsyncIterator[Cluster]:
    found = Cluster(kube)
    async with found.client:
        yield found


@pytest.fixture
async def namespace(cluster: Cluster) -> str:
    return await cluster.namespace("test")


def config_map(name: str, value: str = "1", **labels: str) -> KubeObject:
    return {"metadata": {"name": name, "labels": labels}, "data": {"v": value}}


def value(body: KubeObject) -> str:
    return str(body["data"]["v"])


async def test_objects_come_change_and_go(cluster: Cluster, namespace: str) -> None:
    client = cluster.client
    made = await client.create(CONFIG_MAPS, config_map("a"), namespace)
    assert await client.get(CONFIG_MAPS, "a", namespace) == made
    changed = await client.update(CONFIG_MAPS, {**made, "data": {"v": "2"}})
    assert value(changed) == "2"
    with pytest.raises(ConflictError) as caught:
        await client.update(CONFIG_MAPS, {**made, "data": {"v": "3"}})
    assert caught.value.reason == "Conflict"
    with pytest.raises(AlreadyExistsError):
        await client.create(CONFIG_MAPS, config_map("a"), namespace)
    await client.delete(CONFIG_MAPS, "a", namespace)
    with pytest.raises(NotFoundError, match='configmaps "a" not found'):
        await client.get(CONFIG_MAPS, "a", namespace)


async def test_patches(cluster: Cluster, namespace: str) -> None:
    client = cluster.client
    await client.create(CONFIG_MAPS, config_map("a", keep="yes"), namespace)
    merged = await client.patch(CONFIG_MAPS, "a", {"data": {"v": None, "w": "1"}}, namespace)
    assert merged["data"] == {"w": "1"}
    operations = [{"op": "replace", "path": "/data/w", "value": "2"}]
    changed = await client.patch(CONFIG_MAPS, "a", operations, namespace, patch_kind="json")
    assert changed["data"] == {"w": "2"}
    applied = await client.patch(
        CONFIG_MAPS,
        "b",
        {"apiVersion": "v1", "kind": "ConfigMap", **config_map("b")},
        namespace,
        patch_kind="apply",
        field_manager="test",
    )
    assert applied["metadata"]["managedFields"][0]["manager"] == "test"
    with pytest.raises(ApiError, match=r"^PATCH /api/v1/namespaces/.*/configmaps/a: "):
        await client.patch(CONFIG_MAPS, "a", [{"op": "nonsense"}], namespace, patch_kind="json")


async def test_lists_of_many_pages_and_selectors(cluster: Cluster, namespace: str) -> None:
    client = cluster.client
    await asyncio.gather(
        *(
            client.create(CONFIG_MAPS, config_map(f"c{n}", odd=str(n % 2), of=namespace), namespace)
            for n in range(520)
        )
    )
    found = await client.list_all(Selection(CONFIG_MAPS, namespace))
    assert {body["metadata"]["name"] for body in found.items} == {f"c{n}" for n in range(520)}
    found = await client.list_all(Selection(CONFIG_MAPS, namespace, labels="odd=1"))
    assert len(found.items) == 260
    found = await client.list_all(Selection(CONFIG_MAPS, labels=f"of={namespace}"))
    assert len(found.items) == 520


async def test_who_may_not(cluster: Cluster, namespace: str) -> None:
    await cluster.account(namespace, "weak")
    token = await cluster.token(namespace, "weak", [])
    weak = cluster.server.kubeconfig("weak", token=token)
    async with KubeClient(kubeconfig_login(weak)) as client:
        with pytest.raises(ForbiddenError, match=f"system:serviceaccount:{namespace}:weak"):
            await client.list_all(Selection(CONFIG_MAPS, namespace))
    stranger = cluster.server.kubeconfig("stranger", token="nobody")
    async with KubeClient(kubeconfig_login(stranger)) as client:
        with pytest.raises(UnauthorizedError):
            await client.get(NAMESPACES, "default")


async def test_a_pods_account_and_its_renewed_token(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """As in a pod: the kubelet writes another token into the file from time to time."""
    await cluster.account(namespace, "app")
    (tmp_path / "ca.crt").write_bytes(cluster.server.ca)
    (tmp_path / "namespace").write_text(namespace)
    (tmp_path / "token").write_text("worn out")
    host, _, port = cluster.server.url.removeprefix("https://").partition(":")
    variables = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    async with KubeClient(service_account_login(variables, tmp_path)) as client:
        with pytest.raises(UnauthorizedError):
            await client.get(ACCOUNTS, "app", client.namespace)
        (tmp_path / "new").write_text(await cluster.token(namespace, "app", []))
        (tmp_path / "new").rename(tmp_path / "token")
        with pytest.raises(ForbiddenError):
            await client.get(ACCOUNTS, "app", client.namespace)


async def test_another_cluster_is_not_talked_to(cluster: Cluster, tmp_path: Path) -> None:
    """The server's certificate is checked before the token is sent."""
    import trustme

    login = kubeconfig_login(cluster.server.admin)
    other = trustme.CA()
    (tmp_path / "ca.crt").write_bytes(other.cert_pem.bytes())
    (tmp_path / "namespace").write_text("default")
    (tmp_path / "token").write_text("secret")
    host, _, port = login.server.removeprefix("https://").partition(":")
    variables = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    async with KubeClient(service_account_login(variables, tmp_path)) as client:
        with pytest.raises(UnreachableError, match="certificate"):
            await client.get(NAMESPACES, "default")


async def test_a_kind_that_is_not_there(cluster: Cluster) -> None:
    with pytest.raises(NotFoundError):
        await cluster.client.list_all(Selection(CONFIGURATIONS))


async def test_the_cache_follows_through_a_crash(cluster: Cluster, namespace: str) -> None:
    client = cluster.client
    informer = Informer(client, Selection(CONFIG_MAPS, namespace), value)
    seen = asyncio.Event()
    informer.on_change(lambda _: seen.set())
    running = asyncio.ensure_future(informer.run())

    async def holds(expected: dict[str, str]) -> None:
        async with asyncio.timeout(60):
            while {key[1]: text for key, text in informer.objects.items()} != expected:
                seen.clear()
                await seen.wait()

    try:
        await asyncio.wait_for(informer.synced.wait(), 10)
        for name in ("a", "b"):
            await client.create(CONFIG_MAPS, config_map(name), namespace)
        await holds({"a": "1", "b": "1"})
        await asyncio.to_thread(cluster.server.crash)
        await client.patch(CONFIG_MAPS, "a", {"data": {"v": "2"}}, namespace)
        await client.delete(CONFIG_MAPS, "b", namespace)
        await client.create(CONFIG_MAPS, config_map("c"), namespace)
        await holds({"a": "2", "c": "1"})
        with pytest.raises(ExpiredError):  # it has forgotten what was long ago
            await anext(client.watch(Selection(CONFIG_MAPS, namespace), "1"))
    finally:
        running.cancel()
        await asyncio.wait([running])
