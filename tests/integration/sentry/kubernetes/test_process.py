"""A real dapr-sentry in Kubernetes mode, with the account and permissions the chart gives it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import jwt
import pytest
from cryptography import x509
from harness.authorities import now
from harness.kube_cluster import Cluster
from harness.sentry import Sentry, Signed
from harness.stand_in_identity_provider import SigningKey

from dapr_common.kube.kinds import CONFIG_MAPS, CONFIGURATIONS, SECRETS
from dapr_common.security.authority import CaBundle, Life, new_bundle
from dapr_common.security.x509 import verify_chain
from dapr_common.wire.dapr.proto.sentry.v1 import sentry_pb2 as pb

NAME = "dapr-trust-bundle"
ROOT_IS_ALLOWED = {"DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK": "true"}


@dataclass
class Place:
    """A control plane namespace with its Configuration, and a namespace of applications."""

    cluster: Cluster
    namespace: str
    apps: str

    async def sentry(
        self, *flags: str, env: Mapping[str, str] | None = None, **more: Any
    ) -> Sentry:
        token = await self.cluster.token(self.namespace, "dapr-sentry", [])
        kubeconfig = self.cluster.server.kubeconfig(f"{self.namespace}-sentry", token=token)
        own = ["--mode=kubernetes", "--config=daprsystem", f"--kubeconfig={kubeconfig}"]
        return Sentry(
            namespace=self.namespace,
            flags=[*own, *flags],
            env=ROOT_IS_ALLOWED if env is None else env,
            **more,
        )

    async def anchors(self) -> bytes:
        _, config_map = await self.cluster.bundle(self.namespace)
        return config_map["ca.crt"].encode()

    async def token(self, pod: str, *, namespace: str = "", **annotations: str) -> str:
        namespace = namespace or self.apps
        named = {f"dapr.io/{name.replace('_', '-')}": text for name, text in annotations.items()}
        made = await self.cluster.pod(namespace, pod, "app", named)
        audience = f"spiffe://cluster.local/ns/{self.namespace}/dapr-sentry"
        return await self.cluster.token(namespace, "app", [audience], made)

    async def sign(self, sentry: Sentry, **fields: Any) -> Signed:
        sentry.known_anchors = await self.anchors()
        return await asyncio.to_thread(lambda: sentry.sign(**{"namespace": self.apps, **fields}))

    async def refused(self, sentry: Sentry, **fields: Any) -> str:
        with pytest.raises(grpc.RpcError) as caught:
            await self.sign(sentry, **fields)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        return str(caught.value.details())

    async def store(self, bundle: CaBundle) -> None:
        """As a person rotates: first the one, then the other."""
        files = {
            "ca.crt": bundle.anchors_pem,
            "issuer.crt": bundle.chain_pem,
            "issuer.key": bundle.key_pem,
        }
        data = {name: base64.b64encode(content).decode() for name, content in files.items()}
        client = self.cluster.client
        await client.patch(SECRETS, NAME, {"data": data}, self.namespace)
        data = {"ca.crt": bundle.anchors_pem.decode()}
        await client.patch(CONFIG_MAPS, NAME, {"data": data}, self.namespace)


@pytest.fixture
async def place(cluster: Cluster) -> Place:
    namespace = await cluster.control_plane()
    apps = await cluster.namespace("apps")
    for where in (namespace, apps):
        await cluster.account(where, "app")
    await cluster.configuration(namespace, "daprsystem", {"mtls": {"workloadCertTTL": "2h"}})
    return Place(cluster, namespace, apps)


def names(signed: Signed) -> list[str]:
    found = signed.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return sorted(found.value.get_values_for_type(x509.DNSName))


async def test_pods_get_certificates(place: Place) -> None:
    async with await place.sentry() as sentry:
        token = await place.token("orders-1", app_id="orders")
        signed = await place.sign(sentry, id="orders", token=token)
        assert str(signed.svid.id) == f"spiffe://public/ns/{place.apps}/orders"
        verify_chain(signed.chain, signed.anchors, now())
        leaf = signed.chain[0]
        life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        assert life.total_seconds() == (2 * 60 + 15) * 60, "workloadCertTTL of the Configuration"
        secret, config_map = await place.cluster.bundle(place.namespace)
        assert config_map == {"ca.crt": secret["ca.crt"]}
        assert set(secret) == {"ca.crt", "issuer.crt", "issuer.key"}
        assert token not in sentry.log
        assert secret["issuer.key"].splitlines()[1] not in sentry.log


async def test_trust_domain_of_the_pods_configuration(place: Place) -> None:
    spec = {"accessControl": {"trustDomain": "shop.example"}}
    await place.cluster.configuration(place.apps, "mine", spec)
    async with await place.sentry() as sentry:
        token = await place.token("orders-1", app_id="orders", config="mine")
        signed = await place.sign(sentry, id="orders", token=token, trust_domain="ignored")
        assert str(signed.svid.id) == f"spiffe://shop.example/ns/{place.apps}/orders"


async def test_the_control_plane_gets_its_names(place: Place) -> None:
    async with await place.sentry() as sentry:
        token = await place.token("op-1", namespace=place.namespace, control_plane="operator")
        signed = await place.sign(
            sentry, id="dapr-operator", namespace=place.namespace, token=token
        )
        assert str(signed.svid.id) == f"spiffe://cluster.local/ns/{place.namespace}/dapr-operator"
        assert names(signed) == [f"dapr-webhook.{place.namespace}.svc"]


async def test_who_is_refused(place: Place) -> None:
    async with await place.sentry() as sentry:
        token = await place.token("orders-1", app_id="orders")
        text = await place.refused(sentry, id="payments", token=token)
        assert text == "app-id mismatch. expected: orders, received: payments"
        text = await place.refused(sentry, id="orders", namespace=place.namespace, token=token)
        assert text.startswith("namespace mismatch")
        assert (await place.refused(sentry, id="orders")).startswith("invalid token: ")
        token = await place.token("op-1", control_plane="operator")
        text = await place.refused(sentry, id="dapr-operator", token=token)
        assert "must be in the control plane namespace" in text


async def test_sentries_that_start_together_are_one_authority(place: Place) -> None:
    several = [await place.sentry() for _ in range(3)]
    for sentry in several:
        sentry.start()
    try:
        for sentry in several:
            await asyncio.to_thread(sentry.wait_ready)
        token = await place.token("orders-1", app_id="orders")
        issuers = {
            (await place.sign(sentry, id="orders", token=token)).chain[1] for sentry in several
        }
        assert len(issuers) == 1
    finally:
        for sentry in several:
            sentry.stop()


async def test_the_authority_outlives_a_restart(place: Place) -> None:
    token = await place.token("orders-1", app_id="orders")
    async with await place.sentry() as sentry:
        before = await place.sign(sentry, id="orders", token=token)
    async with await place.sentry() as sentry:
        after = await place.sign(sentry, id="orders", token=token)
    assert before.chain[1:] == after.chain[1:]


async def test_a_rotation_in_the_cluster_is_taken_over(place: Place) -> None:
    token = await place.token("orders-1", app_id="orders")
    async with await place.sentry() as sentry:
        before = await place.sign(sentry, id="orders", token=token)
        await place.store(new_bundle("cluster.local", place.namespace, Life.of(now())))
        await asyncio.to_thread(sentry.wait_line, "The issuer certificate has changed")
        after = await place.sign(sentry, id="orders", token=token)
        assert after.anchors != before.anchors
        verify_chain(after.chain, after.anchors, now())


async def test_a_changed_configuration_is_taken_over(place: Place) -> None:
    token = await place.token("orders-1", app_id="orders")
    key = SigningKey("one")
    options = {"source": json.dumps({"keys": [key.public]})}
    validators = [{"name": "jwks", "options": options}]
    async with await place.sentry() as sentry:
        patch = {"spec": {"mtls": {"workloadCertTTL": "1h", "tokenValidators": validators}}}
        await place.cluster.client.patch(CONFIGURATIONS, "daprsystem", patch, place.namespace)
        await asyncio.to_thread(sentry.wait_line, "The Configuration has changed")
        signed = await place.sign(sentry, id="orders", token=token)
        leaf = signed.chain[0]
        assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() == 4500
        # The jwks validator is there in addition, for those who name it.
        proof = key.sign(
            {
                "aud": f"spiffe://cluster.local/ns/{place.namespace}/dapr-sentry",
                "sub": "spiffe://public/ns/elsewhere/outside",
            }
        )
        signed = await place.sign(
            sentry,
            id="outside",
            namespace="elsewhere",
            token=proof,
            token_validator=pb.SignCertificateRequest.JWKS,
        )
        assert str(signed.svid.id) == "spiffe://public/ns/elsewhere/outside"


async def test_jwt_keys_are_kept_in_the_cluster(place: Place) -> None:
    token = await place.token("orders-1", app_id="orders")
    async with await place.sentry("--jwt-enabled") as sentry:
        signed = await place.sign(sentry, id="orders", token=token)
    async with await place.sentry("--jwt-enabled") as sentry:
        again = await place.sign(sentry, id="orders", token=token)
    secret, config_map = await place.cluster.bundle(place.namespace)
    assert set(secret) == {"ca.crt", "issuer.crt", "issuer.key", "jwt.key", "jwks.json"}
    assert config_map["jwks.json"] == secret["jwks.json"]
    for answer in (signed, again):
        key = jwt.PyJWKSet.from_json(config_map["jwks.json"]).keys[0].key
        text = answer.response.jwt.value
        claims = jwt.decode(text, key, algorithms=["RS256"], audience="public")
        assert claims["sub"] == f"spiffe://public/ns/{place.apps}/orders"


async def test_the_configuration_comes_after_sentry(place: Place) -> None:
    """As Helm installs: custom resources come last, and nothing starts twice for it."""
    await place.cluster.client.delete(CONFIGURATIONS, "daprsystem", place.namespace)
    async with await place.sentry(ready=False) as sentry:
        await asyncio.to_thread(sentry.wait_line, "Waiting for Configuration daprsystem in")
        assert sentry.health() == 503
        await place.cluster.configuration(place.namespace, "daprsystem", {"mtls": {}})
        await asyncio.to_thread(sentry.wait_line, "issues certificates")
        assert sentry.health() == 200


# --- what cannot start ------------------------------------------------------------------------


async def ends_with(sentry: Sentry, words: str) -> None:
    sentry.start()
    assert await asyncio.to_thread(sentry.wait_exit, 20.0) == 1
    assert words in sentry.log


async def test_no_bundle_to_fill(place: Place) -> None:
    await place.cluster.client.delete(SECRETS, NAME, place.namespace)
    sentry = await place.sentry(ready=False, exit_code=1)
    await ends_with(sentry, f"there is no Secret {NAME} in namespace {place.namespace}")


async def test_no_login(place: Place) -> None:
    sentry = await place.sentry("--kubeconfig=/nowhere/config", ready=False, exit_code=1)
    await ends_with(sentry, "kubeconfig /nowhere/config cannot be read")
