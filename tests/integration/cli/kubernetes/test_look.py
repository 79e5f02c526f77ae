"""What is shown of a cluster: the control plane, sidecars, components, configurations."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import yaml
from harness.authorities import now
from harness.kube_cluster import Cluster

from dapr_common.kube.kinds import COMPONENTS, CONFIG_MAPS, PODS, SECRETS
from dapr_common.security.authority import CaBundle, Life, new_bundle


async def pod(
    cluster: Cluster,
    namespace: str,
    name: str,
    *,
    labels: dict[str, str] | None = None,
    containers: list[dict[str, Any]] | None = None,
    init: list[dict[str, Any]] | None = None,
) -> None:
    """A pod that no node ever takes."""
    spec = {
        "containers": containers or [{"name": "app", "image": "none"}],
        "initContainers": init or [],
        "serviceAccountName": "app",
    }
    body = {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}
    await cluster.client.create(PODS, body, namespace)


async def becomes(cluster: Cluster, namespace: str, name: str, status: dict[str, Any]) -> None:
    await cluster.client.patch(PODS, name, {"status": status}, namespace, part="status")


def sidecar(app_id: str, *more: str) -> dict[str, Any]:
    return {"name": "daprd", "image": "x", "args": ["/daprd", "--app-id", app_id, *more]}


@pytest.fixture
async def apps(cluster: Cluster) -> str:
    namespace = await cluster.namespace("apps")
    await cluster.account(namespace, "app")
    return namespace


async def test_status(dapr, cluster: Cluster, apps: str) -> None:
    for name, app, image in (
        ("op-1", "dapr-operator", "registry:5000/dapr/operator:1.18.3"),
        ("op-2", "dapr-operator", "registry:5000/dapr/operator:1.18.3"),
        ("sentry-1", "dapr-sentry", "sentry@sha256:" + "0" * 64),
        ("injector-1", "dapr-sidecar-injector", "injector:edge"),
        ("app-1", "orders", "orders:1"),
    ):
        await pod(
            cluster, apps, name, labels={"app": app}, containers=[{"name": "x", "image": image}]
        )
    running = {"name": "x", "ready": True, "restartCount": 0, "image": "", "imageID": ""}
    running["state"] = {"running": {"startedAt": now().isoformat(timespec="seconds")}}
    await becomes(cluster, apps, "op-1", {"containerStatuses": [running]})
    waiting = {**running, "ready": False, "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    await becomes(cluster, apps, "sentry-1", {"containerStatuses": [waiting]})
    lines = (await dapr.out("status", "-k")).splitlines()
    rows = [line.split() for line in lines]
    assert rows[0] == [
        "NAME",
        "NAMESPACE",
        "HEALTHY",
        "STATUS",
        "REPLICAS",
        "VERSION",
        "AGE",
        "CREATED",
    ]
    assert rows[1][:6] == ["dapr-operator", apps, "True", "Running", "2", "1.18.3"]
    assert rows[2][:6] == ["dapr-sentry", apps, "False", "Waiting", "(ImagePullBackOff)", "1"]
    assert rows[3][:6] == ["dapr-sidecar-injector", apps, "False", "Pending", "1", "edge"]
    assert len(rows) == 4
    (operator, sentry, _) = json.loads(await dapr.out("status", "-k", "-o", "json"))
    assert (operator["name"], operator["healthy"], operator["replicas"]) == (rows[1][0], True, 2)
    assert (sentry["healthy"], sentry["status"]) == (False, "Waiting (ImagePullBackOff)")
    assert yaml.safe_load(await dapr.out("status", "-o", "yaml"))[0]["version"] == "1.18.3"
    column = lines[0].index("HEALTHY")
    assert [line[column:].split()[0] for line in lines[1:]] == ["True", "False", "False"]


async def test_list(dapr, cluster: Cluster, apps: str) -> None:
    await pod(cluster, apps, "b", containers=[sidecar("orders", "--app-port", "8000")])
    await pod(cluster, apps, "c", containers=[sidecar("idle", "--app-port=0")])
    await pod(cluster, apps, "native", init=[{**sidecar("native"), "restartPolicy": "Always"}])
    await pod(cluster, apps, "none")
    lines = (await dapr.out("list", "-k", "--namespace", apps)).splitlines()
    assert lines[0].split() == ["NAMESPACE", "APP", "ID", "APP", "PORT", "AGE", "CREATED"]
    assert [line.split()[:2] for line in lines[1:]] == [
        [apps, "idle"],
        [apps, "native"],
        [apps, "orders"],
    ]
    assert lines[3].split()[2] == "8000"
    found = json.loads(await dapr.out("list", "-k", "--namespace", apps, "-o", "json"))
    assert [(one["appId"], one["appPort"]) for one in found] == [
        ("idle", ""),
        ("native", ""),
        ("orders", "8000"),
    ]
    everywhere = yaml.safe_load(await dapr.out("list", "-k", "-A", "-o", "yaml"))
    assert [one["appId"] for one in everywhere if one["namespace"] == apps] == [
        "idle",
        "native",
        "orders",
    ]
    empty = await cluster.namespace("empty")
    assert await dapr.out("list", "-k", "--namespace", empty) == (
        "ℹ️  No Dapr instances found.\n"  # noqa: RUF001
    )


async def component(cluster: Cluster, namespace: str, name: str, **more: Any) -> None:
    body = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {"type": "state.in-memory", "version": "v1", "metadata": []},
        **more,
    }
    await cluster.client.create(COMPONENTS, body, namespace)


async def test_components(dapr, cluster: Cluster) -> None:
    first, second = sorted([await cluster.namespace("shop"), await cluster.namespace("shop")])
    await component(cluster, first, "b", scopes=["orders", "payments"])
    await component(cluster, first, "a")
    await component(cluster, second, "a")
    lines = (await dapr.out("components", "-k")).splitlines()
    rows = [line.split() for line in lines]
    assert rows[0] == ["NAMESPACE", "NAME", "TYPE", "VERSION", "SCOPES", "CREATED", "AGE"]
    shown = [row[:4] for row in rows[1:] if row[0] in (first, second)]
    assert shown == [
        [second, "a", "state.in-memory", "v1"],
        [first, "a", "state.in-memory", "v1"],
        [first, "b", "state.in-memory", "v1"],
    ]
    assert "orders,payments" in lines[[row[:2] for row in rows].index([first, "b"])]
    # A column without any content is left out.
    only = await dapr.out("components", "-k", "--namespace", second)
    assert "SCOPES" not in only
    same = await dapr.out("components", "-k", "-o", "list")
    assert [line.split()[:4] for line in same.splitlines()] == [row[:4] for row in rows]
    named = json.loads(await dapr.out("components", "-k", "-n", "b", "-o", "json"))
    spec = {"type": "state.in-memory", "version": "v1", "metadata": []}
    assert named == [{"name": "b", "namespace": first, "spec": spec}]
    in_yaml = yaml.safe_load(await dapr.out("components", "-k", "-n", "b", "-o", "yaml"))
    assert in_yaml == named
    empty = await cluster.namespace("empty")
    assert await dapr.out("components", "-k", "--namespace", empty) == (
        "ℹ️  No components found.\n"  # noqa: RUF001
    )


async def test_configurations(dapr, cluster: Cluster) -> None:
    shop = await cluster.namespace("shop")
    await cluster.configuration(shop, "traced", {"tracing": {"samplingRate": "0.5"}})
    await cluster.configuration(shop, "quiet", {"metrics": {"enabled": False}})
    await cluster.configuration(shop, "daprsystem", {"metrics": {"enabled": True}})
    lines = (await dapr.out("configurations", "-k", "--namespace", shop)).splitlines()
    rows = [line.split() for line in lines]
    assert rows[0] == ["NAMESPACE", "NAME", "TRACING-ENABLED", "METRICS-ENABLED", "AGE", "CREATED"]
    assert [row[:4] for row in rows[1:]] == [
        [shop, "quiet", "false", "false"],
        [shop, "traced", "true", "true"],
    ]


@pytest.fixture
def soon() -> CaBundle:
    """An authority that ends in nine days and some hours."""
    return new_bundle("cluster.local", "dapr-system", Life.of(now(), timedelta(days=9, hours=12)))


async def test_a_root_that_ends_soon_is_said(dapr, cluster: Cluster, soon: CaBundle) -> None:
    namespace = await cluster.namespace("dapr-system")
    files = {"ca.crt": soon.anchors_pem, "issuer.crt": soon.chain_pem, "issuer.key": soon.key_pem}
    data = {name: content.decode() for name, content in files.items()}
    named = {"metadata": {"name": "dapr-trust-bundle"}}
    await cluster.client.create(SECRETS, {**named, "stringData": data}, namespace)
    await cluster.client.create(
        CONFIG_MAPS, {**named, "data": {"ca.crt": data["ca.crt"]}}, namespace
    )
    try:
        done = await dapr("components", "-k")
        assert done.returncode == 0
        assert (
            "The root certificate of Dapr in your Kubernetes cluster expires in 9 days"
            in done.stderr
        )
        assert "renew it with 'dapr mtls renew-certificate -k'" in done.stderr
    finally:
        await cluster.client.delete(SECRETS, "dapr-trust-bundle", namespace)


async def test_an_account_that_may_nothing(dapr, cluster: Cluster, apps: str) -> None:
    token = await cluster.token(apps, "app", [])
    kubeconfig = cluster.server.kubeconfig("app", token=token)
    done = await dapr("status", "-k", KUBECONFIG=str(kubeconfig))
    assert done.returncode == 1
    assert "is forbidden" in done.stderr
    assert "Your account in the cluster may not do this: ask its administrator." in done.stderr


async def test_logs(dapr, cluster: Cluster, apps: str) -> None:
    await pod(cluster, apps, "orders-1", containers=[sidecar("orders")])
    done = await dapr("logs", "-k", "-a", "payments", "-n", apps)
    assert done.returncode == 1
    assert (
        f"couldn't find a pod with a sidecar of app id payments in namespace {apps}" in done.stderr
    )
    # No node has taken the pod: that is what the API server says, and what is passed on.
    done = await dapr("logs", "-k", "-a", "orders", "-n", apps)
    assert done.returncode in (0, 1)
    assert done.stdout == ""
