"""The trust bundle in a real cluster, with the permissions that the chart gives sentry."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from harness.kube_cluster import Cluster

from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import CONFIG_MAPS, CONFIGURATIONS, SECRETS, Selection
from dapr_common.kube.login import kubeconfig_login
from dapr_sentry.bundle_store import BundleConflictError, FileNames, StoredBundle, StoreError
from dapr_sentry.kubernetes_store import KubernetesStore

ONE = StoredBundle(b"anchors one\n", b"issuer one\n", b"key one\n")
TWO = StoredBundle(b"anchors two\n", b"issuer two\n", b"key two\n")
NAMES = FileNames()
NAME = "dapr-trust-bundle"


@dataclass
class Place:
    """A control plane namespace, and stores in it."""

    cluster: Cluster
    namespace: str
    client: KubeClient

    def store(self, names: FileNames = NAMES, *, settle: float = 0.0) -> KubernetesStore:
        return KubernetesStore(
            self.client, self.namespace, names, settle_seconds=settle, look_seconds=0.5
        )

    async def write_secret(self, bundle: StoredBundle) -> None:
        files = {
            "ca.crt": bundle.ca_crt,
            "issuer.crt": bundle.issuer_crt,
            "issuer.key": bundle.issuer_key,
        }
        data = {name: base64.b64encode(content).decode() for name, content in files.items()}
        await self.cluster.client.patch(SECRETS, NAME, {"data": data}, self.namespace)

    async def write_config_map(self, anchors: bytes | None) -> None:
        data = {"ca.crt": None if anchors is None else anchors.decode()}
        await self.cluster.client.patch(CONFIG_MAPS, NAME, {"data": data}, self.namespace)


@pytest.fixture
async def place(cluster: Cluster) -> AsyncIterator[Place]:
    namespace = await cluster.control_plane()
    token = await cluster.token(namespace, "dapr-sentry", [])
    async with KubeClient(
        kubeconfig_login(cluster.server.kubeconfig(namespace, token=token))
    ) as client:
        yield Place(cluster, namespace, client)


async def test_what_is_saved_is_loaded(place: Place) -> None:
    store = place.store()
    assert await store.load() is None
    await store.save(ONE)
    assert await store.load() == ONE
    assert await place.store().load() == ONE
    assert await place.cluster.bundle(place.namespace) == (
        {"ca.crt": "anchors one\n", "issuer.crt": "issuer one\n", "issuer.key": "key one\n"},
        {"ca.crt": "anchors one\n"},
    )


async def test_jwt_files_are_added_and_kept(place: Place) -> None:
    store = place.store()
    await store.load()
    await store.save(ONE)
    await store.save(replace(ONE, jwt_key=b"secret\n", jwks=b'{"keys":[]}'))
    assert await store.load() == replace(ONE, jwt_key=b"secret\n", jwks=b'{"keys":[]}')
    await store.save(TWO)
    secret, config_map = await place.cluster.bundle(place.namespace)
    assert (secret["ca.crt"], secret["jwt.key"]) == ("anchors two\n", "secret\n")
    assert config_map == {"ca.crt": "anchors two\n", "jwks.json": '{"keys":[]}'}


async def test_keys_are_the_configured_names(place: Place) -> None:
    store = place.store(FileNames(ca_crt="root.pem", issuer_crt="i.pem", issuer_key="i.key"))
    await store.load()
    await store.save(ONE)
    secret, config_map = await place.cluster.bundle(place.namespace)
    assert set(secret) == {"root.pem", "i.pem", "i.key"}
    assert config_map == {"ca.crt": "anchors one\n"}


@pytest.mark.parametrize("anchors", [None, b"others\n"])
async def test_without_the_same_anchors_in_the_config_map_nothing_is_stored(
    place: Place, anchors: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    await place.write_secret(ONE)
    await place.write_config_map(anchors)
    assert await place.store().load() is None
    assert "hold different trust anchors" in caplog.text


async def test_half_a_rotation_is_waited_for(place: Place) -> None:
    """Secret and ConfigMap are changed one after the other; between them nothing is made anew."""
    await place.write_secret(ONE)
    loading = asyncio.ensure_future(place.store(settle=30.0).load())
    assert not (await asyncio.wait([loading], timeout=0.3))[0]
    await place.write_config_map(ONE.ca_crt)
    assert await asyncio.wait_for(loading, 10) == ONE


async def test_a_missing_object_is_said(place: Place) -> None:
    await place.cluster.client.delete(CONFIG_MAPS, NAME, place.namespace)
    with pytest.raises(StoreError, match="there is no ConfigMap dapr-trust-bundle in namespace"):
        await place.store().load()


async def test_a_missing_permission_is_said(place: Place, cluster: Cluster) -> None:
    other = await cluster.namespace("other")
    with pytest.raises(StoreError, match=r"Secret dapr-trust-bundle .* cannot be read: .*forbid"):
        await KubernetesStore(place.client, other, NAMES).load()


async def test_the_second_of_two_that_start_together_is_told(place: Place) -> None:
    first, second = place.store(), place.store()
    assert await first.load() is None
    assert await second.load() is None
    await first.save(ONE)
    with pytest.raises(BundleConflictError):
        await second.save(TWO)
    assert await second.load() == ONE


async def test_many_that_start_together_agree(place: Place) -> None:
    async def start(number: int) -> StoredBundle:
        store = place.store(settle=5.0)
        while True:
            if (found := await store.load()) is not None:
                return found
            own = StoredBundle(b"anchors %d" % number, b"issuer %d" % number, b"key %d" % number)
            try:
                await store.save(own)
            except BundleConflictError:
                continue
            return own

    async with asyncio.timeout(60):
        found = await asyncio.gather(*(start(number) for number in range(6)))
    assert len(set(found)) == 1
    assert await place.store().load() == found[0]


async def test_changes_of_others_in_the_config_map_do_not_stop_a_save(place: Place) -> None:
    """Helm or a person may touch its labels at any time."""
    store = place.store()
    await store.load()
    labels = {"metadata": {"labels": {"touched": "yes"}}}
    await place.cluster.client.patch(CONFIG_MAPS, NAME, labels, place.namespace)
    await store.save(ONE)
    assert await store.load() == ONE
    config_map = await place.cluster.client.get(CONFIG_MAPS, NAME, place.namespace)
    assert config_map["metadata"]["labels"] == {"touched": "yes"}


@pytest.mark.parametrize("secret_first", [True, False])
async def test_changes_are_told_once_both_objects_agree(place: Place, secret_first: bool) -> None:
    store = place.store()
    await store.load()
    await store.save(ONE)
    changes = store.changes()
    waiting = asyncio.ensure_future(anext(changes))
    try:
        assert not (await asyncio.wait([waiting], timeout=1.2))[0], "what it wrote itself was told"
        writes = [place.write_secret(TWO), place.write_config_map(TWO.ca_crt)]
        first, second = writes if secret_first else reversed(writes)
        await first
        assert not (await asyncio.wait([waiting], timeout=1.2))[0], "half a rotation was told"
        await second
        await asyncio.wait_for(waiting, 10)
        assert await store.load() == TWO
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_the_mounted_secret_tells_of_changes(place: Place, tmp_path: Path) -> None:
    """Long before it would have been looked at: the kubelet replaces the files of the mount."""
    store = KubernetesStore(place.client, place.namespace, NAMES, mounted=tmp_path)
    await store.load()
    await store.save(ONE)
    changes = store.changes()
    waiting = asyncio.ensure_future(anext(changes))
    try:
        await place.write_config_map(TWO.ca_crt)
        assert not (await asyncio.wait([waiting], timeout=0.7))[0]
        await place.write_secret(TWO)
        (tmp_path / "..data_tmp").mkdir()
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await asyncio.wait_for(waiting, 10)
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_objects_beside_it_tell_of_changes(place: Place, cluster: Cluster) -> None:
    namespace = place.namespace
    await cluster.configuration(namespace, "daprsystem", {"mtls": {"enabled": True}})
    await cluster.configuration(namespace, "other", {"mtls": {"enabled": True}})
    beside = Selection(CONFIGURATIONS, namespace, fields="metadata.name=daprsystem")
    store = KubernetesStore(place.client, namespace, NAMES, beside=beside)
    await store.load()
    await store.save(ONE)
    changes = store.changes()
    await asyncio.wait_for(anext(changes), 10)  # what it is like now
    waiting = asyncio.ensure_future(anext(changes))
    try:
        patch = {"spec": {"mtls": {"enabled": False}}}
        await cluster.client.patch(CONFIGURATIONS, "other", patch, namespace)
        assert not (await asyncio.wait([waiting], timeout=0.5))[0]
        await cluster.client.patch(CONFIGURATIONS, "daprsystem", patch, namespace)
        await asyncio.wait_for(waiting, 10)
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])
