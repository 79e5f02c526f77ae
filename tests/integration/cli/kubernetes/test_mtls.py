"""``dapr mtls -k``: seen, exported and renewed under a real sentry that goes on signing."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from harness.authorities import below, brought, handshake, now, root, workload
from harness.kube_cluster import ROLE_BINDINGS, ROLES, Cluster
from harness.sentry import Sentry, Signed

from dapr_common.kube.kinds import CONFIG_MAPS, CONFIGURATIONS, SECRETS
from dapr_common.security.authority import CaBundle, Life, load_bundle, new_bundle
from dapr_common.security.x509 import verify_chain, write_private_key

NAME = "dapr-trust-bundle"
ROOT_IS_ALLOWED = {"DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK": "true"}
AUDIENCE = "spiffe://cluster.local/ns/{}/dapr-sentry"


@pytest.fixture
async def system(cluster: Cluster) -> AsyncIterator[str]:
    """A control plane's namespace with an empty bundle; the only one of the cluster."""
    namespace = await cluster.control_plane()
    mtls = {
        "enabled": True,
        "allowedClockSkew": "7m",
        "controlPlaneTrustDomain": "cluster.local",
        "sentryAddress": "dapr-sentry:443",
    }
    await cluster.configuration(namespace, "daprsystem", {"mtls": mtls})
    yield namespace
    for kind in (SECRETS, CONFIG_MAPS):
        await cluster.client.delete(kind, NAME, namespace)
    await cluster.client.delete(CONFIGURATIONS, "daprsystem", namespace)


async def store(cluster: Cluster, namespace: str, bundle: CaBundle) -> None:
    files = {"ca.crt": bundle.anchors_pem, "issuer.crt": bundle.chain_pem}
    files["issuer.key"] = bundle.key_pem
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    await cluster.client.patch(SECRETS, NAME, {"data": data}, namespace)
    anchors = {"ca.crt": bundle.anchors_pem.decode()}
    await cluster.client.patch(CONFIG_MAPS, NAME, {"data": anchors}, namespace)


async def stored(cluster: Cluster, namespace: str) -> CaBundle:
    secret, config_map = await cluster.bundle(namespace)
    assert config_map["ca.crt"] == secret["ca.crt"]
    return load_bundle(
        ca_crt=secret["ca.crt"].encode(),
        issuer_crt=secret["issuer.crt"].encode(),
        issuer_key=secret["issuer.key"].encode(),
        now=now(),
    )


@pytest.fixture
async def before(cluster: Cluster, system: str) -> CaBundle:
    bundle = new_bundle("cluster.local", system, Life.of(now(), timedelta(days=50)))
    await store(cluster, system, bundle)
    return bundle


async def test_whether_it_is_enabled(dapr, cluster: Cluster, system: str) -> None:
    assert await dapr.out("mtls", "-k") == "Mutual TLS is enabled in your Kubernetes cluster \n"
    patch = {"spec": {"mtls": {"enabled": False}}}
    await cluster.client.patch(CONFIGURATIONS, "daprsystem", patch, system)
    assert await dapr.out("mtls", "-k") == "Mutual TLS is disabled in your Kubernetes cluster \n"


async def test_expiry_and_export(dapr, before: CaBundle, tmp_path: Path) -> None:
    # Also without -k, as scripts call the official CLI: there is no authority on this machine.
    for arguments in (["mtls", "expiry", "-k"], ["mtls", "expiry"]):
        first, second = (await dapr.out(*arguments)).splitlines()
        assert first.startswith("Root certificate expires in 1199 hours. Expiry date: ")
        assert second.startswith("Issuer certificate expires in 1199 hours. Expiry date: ")
    out = tmp_path / "out"
    await dapr.out("mtls", "export", "-k", "-o", str(out))
    assert (out / "ca.crt").read_bytes() == before.anchors_pem
    assert (out / "issuer.crt").read_bytes() == before.chain_pem
    assert (out / "issuer.key").read_bytes() == before.key_pem
    assert (out / "issuer.key").stat().st_mode & 0o777 == 0o600


async def test_a_bundle_that_sentry_has_not_filled_yet(dapr, system: str) -> None:
    done = await dapr("mtls", "renew-certificate", "-k")
    assert done.returncode == 1
    assert f"Secret {NAME} in namespace {system} has no ca.crt, issuer.crt" in done.stderr


class Place:
    """A sentry that serves the control plane's namespace, and an app that asks it."""

    def __init__(self, cluster: Cluster, system: str) -> None:
        self._cluster, self._system = cluster, system
        self._token = ""
        self.apps = ""

    async def sentry(self) -> Sentry:
        cluster = self._cluster
        self.apps = await cluster.namespace("apps")
        await cluster.account(self.apps, "app")
        pod = await cluster.pod(self.apps, "orders-1", "app", {"dapr.io/app-id": "orders"})
        audience = AUDIENCE.format(self._system)
        self._token = await cluster.token(self.apps, "app", [audience], pod)
        token = await cluster.token(self._system, "dapr-sentry", [])
        kubeconfig = cluster.server.kubeconfig(f"{self._system}-sentry", token=token)
        flags = ["--mode=kubernetes", "--config=daprsystem", f"--kubeconfig={kubeconfig}"]
        return Sentry(namespace=self._system, flags=flags, env=ROOT_IS_ALLOWED)

    async def sign(self, sentry: Sentry, anchors: bytes) -> Signed:
        sentry.known_anchors = anchors
        return await asyncio.to_thread(
            lambda: sentry.sign(id="orders", namespace=self.apps, token=self._token)
        )


@pytest.mark.slow
async def test_a_running_sentry_takes_the_renewal_over_and_nobody_is_cut_off(
    dapr, cluster: Cluster, system: str, before: CaBundle
) -> None:
    place = Place(cluster, system)
    async with await place.sentry() as sentry:
        # It knows only the anchors of before until its end, as a sidecar does.
        old = await place.sign(sentry, before.anchors_pem)
        done = await dapr("mtls", "renew-certificate", "-k", "--valid-until", "100")
        assert done.returncode == 0, done.stderr
        assert "A new root and issuer certificate are in your Kubernetes cluster" in done.stdout
        await asyncio.to_thread(sentry.wait_line, "The issuer certificate has changed", 80)
        after = await stored(cluster, system)
        assert after.anchors[1:] == before.anchors
        assert after.issuer.not_valid_after_utc > now() + timedelta(days=99)
        skew = now() - after.issuer.not_valid_before_utc
        assert timedelta(minutes=7) <= skew < timedelta(minutes=9), "of daprsystem"
        renewed = await place.sign(sentry, before.anchors_pem)
        fresh = await place.sign(sentry, after.anchors_pem)
        assert fresh.chain[1] == after.issuer
        verify_chain(renewed.chain, before.anchors, now())
        await handshake(old.svid, fresh.svid)
        await handshake(fresh.svid, old.svid)
    # And so does one that starts afterwards.
    async with await place.sentry() as sentry:
        assert (await place.sign(sentry, before.anchors_pem)).chain[1] == after.issuer


async def test_an_issuer_under_the_same_root(
    dapr, cluster: Cluster, system: str, before: CaBundle
) -> None:
    done = await dapr("mtls", "rnc", "-k", "--issuer-only")
    assert done.returncode == 0, done.stderr
    after = await stored(cluster, system)
    assert after.anchors == before.anchors
    assert after.chain[1:] == before.chain


async def test_the_roots_own_key(dapr, cluster: Cluster, system: str, tmp_path: Path) -> None:
    anchor, anchor_key = root()
    issuer, key = below(anchor, anchor_key)
    await store(cluster, system, CaBundle((anchor,), (issuer,), key))
    path = tmp_path / "root.key"
    path.write_bytes(write_private_key(anchor_key))
    done = await dapr("mtls", "rnc", "-k", "--private-key", str(path))
    assert done.returncode == 0, done.stderr
    after = await stored(cluster, system)
    assert after.anchors == (anchor,)
    assert after.issuer != issuer


async def test_an_authority_of_ones_own(
    dapr, cluster: Cluster, system: str, before: CaBundle, tmp_path: Path
) -> None:
    own = brought("ecdsa")
    arguments = []
    for flag, content in (
        ("--ca-root-certificate", own.anchors_pem),
        ("--issuer-public-certificate", own.chain_pem),
        ("--issuer-private-key", own.key_pem),
    ):
        (tmp_path / flag[2:]).write_bytes(content)
        arguments += [flag, str(tmp_path / flag[2:])]
    done = await dapr("mtls", "rnc", "-k", *arguments)
    assert done.returncode == 0, done.stderr
    after = await stored(cluster, system)
    assert after.issuer == own.issuer
    verify_chain(workload(after).chain, before.anchors, now())


async def test_what_was_half_written_is_finished(
    dapr, cluster: Cluster, system: str, before: CaBundle
) -> None:
    other = {"ca.crt": brought().anchors_pem.decode()}
    await cluster.client.patch(CONFIG_MAPS, NAME, {"data": other}, system)
    done = await dapr("mtls", "rnc", "-k")
    assert done.returncode == 0
    assert "hold different trust anchors" in done.stderr
    assert (await stored(cluster, system)).anchors[1:] == before.anchors


async def test_what_cannot_be_finished_is_taken_back(
    dapr, cluster: Cluster, system: str, before: CaBundle
) -> None:
    """An account that may write the Secret, but not the ConfigMap."""
    kubeconfig = await _half_allowed(cluster, system)
    done = await dapr("mtls", "rnc", "-k", "-n", system, KUBECONFIG=str(kubeconfig))
    assert done.returncode == 1
    assert "is forbidden" in done.stderr
    assert (await stored(cluster, system)).anchors == before.anchors


async def _half_allowed(cluster: Cluster, system: str) -> Path:
    await cluster.account(system, "half")
    rules = [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "get", "update"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
        {"apiGroups": ["dapr.io"], "resources": ["configurations"], "verbs": ["list"]},
    ]
    named = {"metadata": {"name": "half"}}
    await cluster.client.create(ROLES, {**named, "rules": rules}, system)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "half"}
    subjects = [{"kind": "ServiceAccount", "name": "half", "namespace": system}]
    body = {**named, "roleRef": role, "subjects": subjects}
    await cluster.client.create(ROLE_BINDINGS, body, system)
    token = await cluster.token(system, "half", [])
    return cluster.server.kubeconfig("half", token=token)
