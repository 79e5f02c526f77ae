"""``crypto.dapr.kubernetes.secrets`` on a real API server: names, namespaces, changes, rights."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from harness.apiserver import ApiServer, api_server, missing_programs
from harness.block_api import make
from harness.kube_cluster import Cluster

from dapr_common.kube.api_errors import KubeError
from dapr_common.kube.kinds import SECRETS
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.crypto.keys import KeyUseError
from dapr_sidecar.components.crypto.kubernetes_secrets import (
    KubernetesCrypto,
    KubernetesCryptoSettings,
)
from dapr_sidecar.components.metadata import SettingsError, decode_settings

ISSUER = "https://kubernetes.default.svc.cluster.local"
needs_server = pytest.mark.skipif(bool(missing_programs()), reason="kube-apiserver is not here")


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with api_server() as found:
        yield found


@pytest.fixture
async def cluster(server: ApiServer) -> AsyncIterator[Cluster]:
    found = Cluster(server)
    yield found
    await found.client.close()


@pytest.fixture
async def namespace(cluster: Cluster) -> str:
    """One with a symmetric key and a key pair in one Secret."""
    name = await cluster.namespace("keys")
    await put(cluster, name, "mine", {"shared.json": symmetric(), "pair.pem": pem(), "bad": "s3"})
    return name


def symmetric() -> str:
    key = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
    return json.dumps({"kty": "oct", "k": key})


def pem() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


async def put(cluster: Cluster, namespace: str, name: str, entries: dict[str, str]) -> None:
    secret = {"metadata": {"name": name}, "stringData": entries}
    await cluster.client.create(SECRETS, secret, namespace)


@pytest.fixture
async def provider(server: ApiServer, namespace: str) -> AsyncIterator[KubernetesCrypto]:
    found = make(KubernetesCrypto, kubeconfigPath=str(server.admin), defaultNamespace=namespace)
    await found.open()
    yield found
    await found.close()


@needs_server
async def test_names_with_and_without_a_namespace(
    provider: KubernetesCrypto, namespace: str
) -> None:
    for algorithm, entry in (("A256KW", "shared.json"), ("RSA-OAEP-256", "pair.pem")):
        wrapped = await provider.wrap_key(bytes(32), algorithm, f"mine/{entry}")
        whole = f"{namespace}/mine/{entry}"
        assert await provider.unwrap_key(wrapped, algorithm, whole) == bytes(32)


@needs_server
async def test_the_pods_own_namespace(server: ApiServer, namespace: str) -> None:
    properties = {"kubeconfigPath": str(server.admin)}
    settings = decode_settings(KubernetesCryptoSettings, properties)
    provider = KubernetesCrypto(settings, ComponentContext("c", "app", namespace))
    await provider.open()
    assert await provider.wrap_key(bytes(32), "A256KW", "mine/shared.json")
    await provider.close()


@needs_server
async def test_a_secret_that_was_changed_counts_at_once(
    provider: KubernetesCrypto, cluster: Cluster, namespace: str
) -> None:
    wrapped = await provider.wrap_key(bytes(32), "A256KW", "mine/shared.json")
    change = {"stringData": {"shared.json": symmetric()}}
    await cluster.client.patch(SECRETS, "mine", change, namespace)
    with pytest.raises(KeyUseError, match="cannot be unwrapped"):
        await provider.unwrap_key(wrapped, "A256KW", "mine/shared.json")


@needs_server
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine", "expected secret/key or namespace/secret/key"),
        ("a/b/c/d", "expected secret/key or namespace/secret/key"),
        ("mine/..%2f", "expected secret/key or namespace/secret/key"),
        ("../mine/x", "its namespace is missing or wrong"),
        ("none/x", "there is no secret 'none' in namespace 'keys"),
        ("mine/none", "secret 'mine' has no key 'none'"),
        ("mine/bad", "expected PEM or a JSON Web Key"),
    ],
)
async def test_names_that_lead_nowhere(provider: KubernetesCrypto, name: str, text: str) -> None:
    with pytest.raises(KeyUseError, match=text) as caught:
        await provider.wrap_key(bytes(32), "A256KW", name)
    assert "s3" not in str(caught.value)


@needs_server
async def test_without_a_namespace_and_without_the_right(
    server: ApiServer, cluster: Cluster, namespace: str
) -> None:
    provider = make(KubernetesCrypto, kubeconfigPath=str(server.admin))
    await provider.open()
    with pytest.raises(KeyUseError, match="'defaultNamespace'"):
        await provider.wrap_key(bytes(32), "A256KW", "mine/shared.json")
    await provider.close()
    account = await cluster.account(namespace, "nobody")
    token = await cluster.token(namespace, account, [ISSUER])
    file = server.kubeconfig("nobody", token=token)
    stranger = make(KubernetesCrypto, kubeconfigPath=str(file), defaultNamespace=namespace)
    await stranger.open()
    with pytest.raises(KeyUseError, match=r"cannot be read: .*forbidden"):
        await stranger.wrap_key(bytes(32), "A256KW", "mine/shared.json")
    await stranger.ping()  # it was told no: somebody is there
    await stranger.close()


@needs_server
async def test_a_server_that_is_away(server: ApiServer, namespace: str) -> None:
    file = server.folder / "away.kubeconfig"
    text = server.admin.read_text()
    file.write_text(text.replace(server.url, "https://127.0.0.1:1"))
    provider = make(KubernetesCrypto, kubeconfigPath=str(file), defaultNamespace=namespace)
    await provider.open()
    with pytest.raises(KubeError):
        await provider.ping()
    with pytest.raises(KeyUseError, match="cannot be read"):
        await provider.wrap_key(bytes(32), "A256KW", "mine/shared.json")
    await provider.close()


async def test_manifests_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'defaultNamespace': 'My_Space': expected the name"):
        make(KubernetesCrypto, defaultNamespace="My_Space")
    (tmp_path / "broken").write_text("[")
    for path in (tmp_path / "none", tmp_path / "broken"):
        provider = make(KubernetesCrypto, kubeconfigPath=str(path))
        with pytest.raises(SettingsError, match="'kubeconfigPath': kubeconfig"):
            await provider.open()
