"""``dapr check -k`` with clusters that are really broken, at a real API server."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import yaml
from harness.authorities import now
from harness.kube_cluster import CRDS, Cluster

from dapr_cli.kube.kinds import DEPLOYMENTS, MUTATING_WEBHOOKS, RESOURCES
from dapr_common.kube.kinds import COMPONENTS, CONFIG_MAPS, PODS, SECRETS, KubeObject
from dapr_common.security.authority import CaBundle, Life, new_bundle

NAME = "dapr-trust-bundle"
INJECTOR = "dapr-sidecar-injector"
Found = dict[str, str]


async def check(dapr: Any, *arguments: str) -> list[Found]:
    done = await dapr("check", "-k", "-o", "json", *arguments)
    assert done.stderr == "", done
    found: list[Found] = json.loads(done.stdout)
    assert done.returncode == any(one["severity"] == "error" for one in found)
    assert all(one["fix"] and one["problem"] for one in found)
    return found


def of(found: list[Found], subject: str) -> list[Found]:
    return [one for one in found if subject in one["subject"]]


def authority(lasts: timedelta) -> CaBundle:
    return new_bundle("cluster.local", "dapr-system", Life.of(now(), lasts, timedelta(hours=1)))


async def store(
    cluster: Cluster, namespace: str, bundle: CaBundle, anchors: bytes | None = None
) -> None:
    files = {"ca.crt": bundle.anchors_pem, "issuer.crt": bundle.chain_pem}
    files["issuer.key"] = bundle.key_pem
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    await cluster.client.patch(SECRETS, NAME, {"data": data}, namespace)
    told = {"ca.crt": (anchors or bundle.anchors_pem).decode()}
    await cluster.client.patch(CONFIG_MAPS, NAME, {"data": told}, namespace)


@pytest.fixture
async def system(cluster: Cluster) -> AsyncIterator[str]:
    namespace = await cluster.control_plane()
    await store(cluster, namespace, authority(timedelta(days=300)))
    yield namespace
    for kind in (SECRETS, CONFIG_MAPS):
        await cluster.client.delete(kind, NAME, namespace)


async def deployment(cluster: Cluster, namespace: str, name: str) -> None:
    labels = {"app": name, "app.kubernetes.io/part-of": "dapr"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": name, "image": "none"}]},
    }
    spec = {"selector": {"matchLabels": labels}, "template": template}
    body = {"metadata": {"name": name, "labels": labels}, "spec": spec}
    await cluster.client.create(DEPLOYMENTS, body, namespace)


async def test_kinds_that_are_missing_or_old(dapr, cluster: Cluster) -> None:
    assert [one for one in await check(dapr) if one["area"] == "kinds"] == []
    await cluster.undefine(RESOURCES["HTTPEndpoint"])
    old: KubeObject = await cluster.client.get(CRDS, "components.dapr.io")
    version = old["spec"]["versions"][0]
    del version["schema"]["openAPIV3Schema"]["properties"]["scopes"]
    await cluster.client.update(CRDS, old)
    found = [one for one in await check(dapr) if one["area"] == "kinds"]
    assert [(one["severity"], one["subject"]) for one in found] == [
        ("error", "httpendpoints.dapr.io"),
        ("warning", "components.dapr.io"),
    ]
    assert "scopes differs" in found[1]["problem"]
    assert "dapr upgrade -k" in found[1]["fix"]


async def test_a_control_plane_that_is_not_ready(dapr, cluster: Cluster, system: str) -> None:
    for name in ("dapr-operator", "dapr-sentry"):
        await deployment(cluster, system, name)
    own = {"serviceAccountName": "dapr-sentry", "containers": [{"name": "x", "image": "y"}]}
    pod = {"metadata": {"name": "sentry-1", "labels": {"app": "dapr-sentry"}}, "spec": own}
    await cluster.client.create(PODS, pod, system)
    waiting = {"name": "x", "ready": False, "restartCount": 0, "image": "", "imageID": ""}
    waiting["state"] = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    status = {"status": {"containerStatuses": [waiting]}}
    await cluster.client.patch(PODS, "sentry-1", status, system, part="status")
    found = [one for one in await check(dapr) if one["area"] == "control plane"]
    (one,) = of(found, "dapr-sentry")
    assert one["problem"] == "0 of 1 ready: ImagePullBackOff: no such image"
    assert f"kubectl -n {system} describe pods -l app=dapr-sentry" in one["fix"]
    assert "it has no pods yet" in of(found, "dapr-operator")[0]["problem"]
    (one,) = of(found, INJECTOR)
    assert one["problem"] == "is not installed"


async def test_webhooks_nobody_can_call(dapr, cluster: Cluster, system: str) -> None:
    (one,) = of(await check(dapr), INJECTOR)[-1:]
    assert one["area"] == "webhooks"
    assert one["problem"] == "there is no such webhook: pods get no sidecars"
    service = {"name": INJECTOR, "namespace": system, "path": "/mutate"}
    webhook: dict[str, Any] = {
        "name": "sidecar-injector.dapr.io",
        "clientConfig": {"service": service},
        "failurePolicy": "Ignore",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    body = {"metadata": {"name": INJECTOR}, "webhooks": [webhook]}
    await cluster.client.create(MUTATING_WEBHOOKS, body)
    try:
        found = [one for one in await check(dapr) if one["area"] == "webhooks"]
        problems = [one["problem"] for one in of(found, INJECTOR)]
        assert any(text.startswith("caBundle is missing") for text in problems)
        assert all("nobody is told (failurePolicy Ignore)" in text for text in problems)
        assert any("service" in text and "does not exist" in text for text in problems)
        strange = base64.b64encode(authority(timedelta(days=9)).anchors_pem).decode()
        webhook["clientConfig"]["caBundle"] = strange
        await cluster.client.patch(MUTATING_WEBHOOKS, INJECTOR, {"webhooks": [webhook]})
        found = of(await check(dapr), INJECTOR)
        assert any("none of sentry's present trust anchors" in one["problem"] for one in found)
        secret, _ = await cluster.bundle(system)
        webhook["clientConfig"]["caBundle"] = base64.b64encode(secret["ca.crt"].encode()).decode()
        await cluster.client.patch(MUTATING_WEBHOOKS, INJECTOR, {"webhooks": [webhook]})
        found = [one for one in await check(dapr) if "caBundle" in one["problem"]]
        assert found == []
    finally:
        await cluster.client.delete(MUTATING_WEBHOOKS, INJECTOR)


async def test_certificates(dapr, cluster: Cluster, system: str) -> None:
    assert of(await check(dapr), f"{system}/{NAME}") == []
    soon = authority(timedelta(days=12))
    await store(cluster, system, soon, anchors=authority(timedelta(days=12)).anchors_pem)
    found = of(await check(dapr), f"{system}/{NAME}")
    assert [one["severity"] for one in found] == ["error", "warning", "warning"]
    assert "different trust anchors" in found[0]["problem"]
    assert all("expires in 11 days" in one["problem"] for one in found[1:])
    assert all("dapr mtls renew-certificate -k" in one["fix"] for one in found)


async def test_resources_no_sidecar_can_use(dapr, cluster: Cluster) -> None:
    namespace = await cluster.namespace("shop")

    async def create(name: str, kind: str) -> None:
        body = {
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "Component",
            "metadata": {"name": name},
            "spec": {"type": kind, "version": "v1", "metadata": []},
        }
        await cluster.client.create(COMPONENTS, body, namespace)

    await create("typo", "state.reddis")
    await create("down", "state.in-memory")
    await create("fine", "state.in-memory")
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "Failed",
        "message": "orders: redis does not answer",
        "lastTransitionTime": now().isoformat(timespec="seconds"),
    }
    status = {"status": {"conditions": [condition]}}
    await cluster.client.patch(RESOURCES["Component"], "down", status, namespace, part="status")
    found = [one for one in await check(dapr, "-n", namespace) if one["area"] == "resources"]
    assert any("state.redis" in one["problem"] for one in of(found, f"{namespace}/typo"))
    (one,) = of(found, f"{namespace}/down")
    assert one["problem"] == "orders: redis does not answer"
    assert f"kubectl -n {namespace} edit components.dapr.io down" in one["fix"]
    assert of(found, f"{namespace}/fine") == []


async def test_pods_without_their_sidecar(dapr, cluster: Cluster) -> None:
    namespace = await cluster.namespace("apps")
    await cluster.account(namespace, "app")
    await cluster.pod(namespace, "missed", "app", {"dapr.io/enabled": "true"})
    await cluster.pod(namespace, "unasked", "app", {"dapr.io/enabled": "false"})
    found = [one for one in await check(dapr, "-n", namespace) if one["area"] == "pods"]
    assert [one["subject"] for one in found] == [f"{namespace}/missed"]
    assert f"kubectl -n {namespace} delete pod missed" in found[0]["fix"]


async def test_who_may_not_look_is_told(dapr, cluster: Cluster, tmp_path) -> None:
    """An account without any right: every check says so, none is silent."""
    namespace = await cluster.namespace("who")
    await cluster.account(namespace, "nobody")
    token = await cluster.token(namespace, "nobody", [])
    config = yaml.safe_load(cluster.server.admin.read_text())
    config["users"][0]["user"] = {"token": token}
    limited = tmp_path / "limited"
    limited.write_text(yaml.safe_dump(config))
    done = await dapr("check", "-k", "-o", "json", KUBECONFIG=str(limited))
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert {one["area"] for one in found} == {
        "kinds",
        "control plane",
        "webhooks",
        "certificates",
        "resources",
        "pods",
    }
    assert all("may not look" in one["problem"] for one in found)
