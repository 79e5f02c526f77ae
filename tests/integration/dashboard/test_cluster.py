"""The pages of a cluster: a real API server, pods as a kubelet would report them, a real sidecar.

No node runs; the pods' addresses are those of a sidecar of this machine.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.programs import path as built
from cryptography import x509
from harness.apiserver import ApiServer, api_server, missing_programs
from harness.authorities import brought
from harness.dashboard import Dashboard
from harness.kube_cluster import (
    ACCOUNTS,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    Cluster,
)
from harness.operator_process import install_all_crds
from harness.programs import free_port
from harness.sentry import Sentry
from harness.sidecar import Sidecar, component

from dapr_common.kube.api_errors import ForbiddenError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import COMPONENTS, CONFIG_MAPS, PODS, SECRETS, Kind
from dapr_common.kube.login import kubeconfig_login
from dapr_dashboard.views.page import PAGES

CHART = Path(__file__).parents[3] / "charts" / "dapr"
CREATED = {
    "ServiceAccount": ACCOUNTS,
    "ClusterRole": CLUSTER_ROLES,
    "ClusterRoleBinding": CLUSTER_ROLE_BINDINGS,
    "Role": ROLES,
    "RoleBinding": ROLE_BINDINGS,
}
RESILIENCIES = Kind("dapr.io", "v1alpha1", "resiliencies")


@pytest.fixture(scope="module")
def kube() -> Iterator[ApiServer]:
    if missing := missing_programs():
        pytest.skip(f"not here: {missing} (tests/cluster/build.py makes them)")
    with api_server() as server:
        yield server


@pytest.fixture
def helm() -> str:
    found = str(built("helm")) if built("helm").exists() else shutil.which("helm")
    if not found:
        pytest.skip("not here: helm (`make cluster-tools` gets it)")
    return found


@pytest.fixture
async def cluster(kube: ApiServer) -> AsyncIterator[Cluster]:
    found = Cluster(kube)
    async with found.client:
        await install_all_crds(found.client)
        yield found


def own_address() -> str:
    """Of this machine, not the loopback's, which an API server refuses to pass requests to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but the loopback's")
        return str(probe.getsockname()[0])


async def sidecar_pod(
    cluster: Cluster,
    namespace: str,
    app_id: str,
    address: str,
    ports: tuple[int, int],
    *,
    pod: str = "",
    **state: Any,
) -> str:
    """A pod as the injector makes it and a kubelet reports it."""
    name = pod or f"{app_id}-0"
    await cluster.account(namespace, f"{name}-account")
    public, metrics = ports
    arguments = ["/daprd", "--app-id", app_id, "--app-port", "3000", "--config", "tracing"]
    arguments += ["--dapr-public-port", str(public), "--metrics-port", str(metrics)]
    secret = {"name": "DB_PASSWORD", "value": "topsecret"}
    body = {
        "metadata": {"name": name, "labels": {"app": app_id}},
        "spec": {
            "serviceAccountName": f"{name}-account",
            "containers": [
                {"name": "app", "image": "none", "env": [secret]},
                {"name": "daprd", "image": "localhost/dapr/daprd:0.1.0", "args": arguments},
            ],
        },
    }
    await cluster.client.create(PODS, body, namespace)
    await report(cluster, namespace, name, "daprd", address, **state)
    return name


async def report(
    cluster: Cluster, namespace: str, pod: str, container: str, address: str, **state: Any
) -> None:
    """What a kubelet writes."""
    said = {"ready": True, "restartCount": 0, "state": {"running": {}}, **state}
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "containerStatuses": [{"name": container, "image": "x", "imageID": "x", **said}],
    }
    await cluster.client.patch(PODS, pod, {"status": status}, namespace, part="status")


def dashboard_of(server: ApiServer, *flags: str, inside: bool, **env: str) -> Dashboard:
    """Inside of a cluster pods are asked at their addresses, outside through the API server."""
    host = {"KUBERNETES_SERVICE_HOST": "127.0.0.1"} if inside else {}
    given = {"KUBECONFIG": str(server.admin), **host, **env}
    return Dashboard("--kubernetes", *flags, env=given)


@pytest.mark.parametrize("inside", [True, False])
async def test_apps_with_what_their_sidecars_say(
    cluster: Cluster, app_id: str, inside: bool
) -> None:
    address = "127.0.0.1" if inside else own_address()
    namespace = await cluster.namespace("apps")
    public = free_port()
    broken = component("store", "state.redis", redisHost="127.0.0.1:9")
    broken["spec"]["ignoreErrors"] = True
    flags = [f"--dapr-public-port={public}"]
    async with Sidecar(app_id, resources=[broken], flags=flags) as sidecar:
        ports = (public, sidecar.metrics_port)
        pod = await sidecar_pod(cluster, namespace, app_id, address, ports)
        nowhere = (free_port(), free_port())
        waiting = {"ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
        await sidecar_pod(
            cluster, namespace, f"{app_id}-x", address, nowhere, restartCount=7, **waiting
        )
        program = dashboard_of(cluster.server, f"--namespace={namespace}", inside=inside)
        async with program as dashboard:
            page = await asyncio.to_thread(dashboard.page, "/")
            row = page.row("Applications and their sidecars", app_id)
            assert row["Sidecar"] == "▲ ready, components are not"
            assert (row["Namespace"], row["Instance"], row["App port"]) == (namespace, pod, "3000")
            assert row["Runtime"] == "1.18.3"
            crashing = page.row("Applications and their sidecars", f"{app_id}-x")
            assert crashing["Sidecar"] == "✖ waiting (CrashLoopBackOff)"
            assert crashing["Problem"]
            assert crashing["Runtime"] == "0.1.0"

            page = await asyncio.to_thread(dashboard.page, f"/apps/{namespace}/{pod}")
            told = page.row("Components of this sidecar", "store")
            assert told["State"].startswith("✖ failing")
            assert f"/apps/{namespace}/{pod}/logs/daprd" in page.links
            page = await asyncio.to_thread(dashboard.page, "/metrics")
            assert page.row("Traffic of each sidecar", app_id)["Memory"].endswith("MiB")


async def test_resources_with_their_status(cluster: Cluster, app_id: str) -> None:
    namespace = await cluster.namespace("apps")
    body = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "orders"},
        "spec": {
            "type": "state.redis",
            "version": "v1",
            "metadata": [
                {"name": "redisHost", "value": "redis:6379"},
                {"name": "redisPassword", "value": "topsecret"},
            ],
        },
    }
    await cluster.client.create(COMPONENTS, body, namespace)
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "LoadFailed",
        "message": "1 of 2 sidecars could not load it: connection refused",
        "lastTransitionTime": "2026-11-26T10:00:00Z",
    }
    status = {"status": {"conditions": [condition]}}
    await cluster.client.patch(COMPONENTS, "orders", status, namespace, part="status")
    await cluster.configuration(namespace, "tracing", {"tracing": {"samplingRate": "1"}})
    resiliency = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Resiliency",
        "metadata": {"name": "fuses"},
        "spec": {
            "policies": {"timeouts": {"short": "2s"}},
            "targets": {"apps": {"shop": {"timeout": "short"}}},
        },
    }
    await cluster.client.create(RESILIENCIES, resiliency, namespace)
    ports = (free_port(), free_port())
    await sidecar_pod(cluster, namespace, app_id, "127.0.0.1", ports)
    program = dashboard_of(cluster.server, f"--namespace={namespace}", inside=True)
    async with program as dashboard:
        page = await asyncio.to_thread(dashboard.page, "/components")
        assert page.row("All components", "orders")["Manifest"] == "✖ LoadFailed"
        assert page.row("Status", "Ready")["Message"] == condition["message"]
        assert page.row("Settings of orders", "redisHost")["Value"] == "redis:6379"
        assert page.row("Settings of orders", "redisPassword")["Secret from"] == "in the manifest"
        assert "topsecret" not in page.source
        page = await asyncio.to_thread(dashboard.page, "/configurations")
        assert page.row("All configurations", "tracing")["Used by"] == app_id
        page = await asyncio.to_thread(dashboard.page, "/resiliency")
        assert page.row("Targets of fuses", "apps shop")["Timeout"] == "short (2s)"


async def test_the_control_plane_and_its_certificates(cluster: Cluster) -> None:
    namespace = await cluster.control_plane()
    bundle = brought()
    anchors = {"data": {"ca.crt": bundle.anchors_pem.decode()}}
    await cluster.client.patch(CONFIG_MAPS, "dapr-trust-bundle", anchors, namespace)
    key = base64.b64encode(bundle.key_pem).decode()
    await cluster.client.patch(
        SECRETS, "dapr-trust-bundle", {"data": {"issuer.key": key}}, namespace
    )
    await sentry_pod(cluster, namespace, free_port())
    flag = f"--control-plane-namespace={namespace}"
    async with dashboard_of(cluster.server, flag, inside=True) as dashboard:
        page = await asyncio.to_thread(dashboard.page, "/controlplane")
        row = page.row("Services", "dapr-sentry")
        assert (row["State"], row["Version"]) == ("● ready, 2 restarts", "0.1.0")
        row = page.row("Certificates", "Root certificate")
        assert row["Where"] == f"ConfigMap {namespace}/dapr-trust-bundle"
        assert "PRIVATE KEY" not in page.source


async def test_the_api_of_a_cluster(cluster: Cluster, app_id: str) -> None:
    """The records of Dapr's dashboard; two pods of one app are its replicas."""
    namespace, other = await cluster.namespace("apps"), await cluster.namespace("others")
    public = free_port()
    flags = [f"--dapr-public-port={public}"]
    async with Sidecar(app_id, flags=flags) as sidecar:
        ports = (public, sidecar.metrics_port)
        for pod in (f"{app_id}-0", f"{app_id}-1"):
            await sidecar_pod(cluster, namespace, app_id, "127.0.0.1", ports, pod=pod)
        await sidecar_pod(cluster, other, f"{app_id}-x", "127.0.0.1", ports)
        body = {
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "Component",
            "metadata": {"name": f"c-{app_id}"},
            "spec": {
                "type": "state.redis",
                "version": "v1",
                "metadata": [{"name": "redisPassword", "value": "topsecret"}],
            },
        }
        await cluster.client.create(COMPONENTS, body, namespace)
        system = await cluster.control_plane()
        await sentry_pod(cluster, system, free_port())
        flag = f"--control-plane-namespace={system}"
        async with dashboard_of(cluster.server, flag, inside=True) as dashboard:

            async def found(path: str) -> Any:
                answer = await asyncio.to_thread(dashboard.get, f"/api/{path}")
                assert answer.status == 200, answer.body
                return answer.json

            assert await found("features") == ["components", "configurations", "status"]
            scopes = await found("scopes")
            assert scopes[0] == "All"
            assert {namespace, other} <= set(scopes)
            (listed,) = await found(f"instances/{namespace}")
            assert (listed["appID"], listed["replicas"]) == (app_id, 2)
            assert (listed["pid"], listed["status"]) == (0, "ready")
            assert listed["address"] == f"{app_id}-dapr:80"
            assert (listed["labels"], listed["selector"]) == (f"app={app_id}", f"app={app_id}")
            assert (listed["httpPort"], listed["grpcPort"], listed["appPort"]) == (
                3500,
                50001,
                3000,
            )
            assert listed["supportsLogs"] is True
            assert {app_id, f"{app_id}-x"} <= {
                each["appID"] for each in await found("instances/All")
            }
            one = await found(f"instances/All/{app_id}")
            pod = await asyncio.to_thread(
                dashboard.get, f"/api/deploymentconfiguration/{namespace}/{app_id}"
            )
            assert pod.body.decode() == one["manifest"]
            manifest = yaml.safe_load(pod.body)
            assert (manifest["kind"], manifest["metadata"]["name"]) == ("Pod", f"{app_id}-0")
            assert "managedFields" not in manifest["metadata"]
            (variable,) = manifest["spec"]["containers"][0]["env"]
            assert variable == {"name": "DB_PASSWORD", "value": "••••••"}
            assert await found(f"instances/All/{app_id}/containers") == ["app", "daprd"]
            assert (await found(f"metadata/All/{app_id}"))["id"] == app_id
            (stored,) = await found(f"components/{namespace}")
            assert stored["name"] == f"c-{app_id}"
            assert stored["created"]
            assert stored["manifest"]["spec"]["metadata"] == [
                {"name": "redisPassword", "value": "••••••"}
            ]
            assert await found(f"components/{other}") == []
            (service,) = await found("controlplanestatus")
            assert service["age"]
            assert service["created"]
            assert {**service, "age": "", "created": ""} == {
                "service": "dapr-sentry",
                "name": "dapr-sentry-0",
                "namespace": system,
                "healthy": "True",
                "status": "ready, 2 restarts",
                "version": "0.1.0",
                "age": "",
                "created": "",
            }
            assert (await found("version"))["runtimeVersion"] == "0.1.0"


async def test_rights_that_are_missing_are_told(cluster: Cluster, app_id: str) -> None:
    """An account that may see pods only: pages of what it may not see say so, others work."""
    namespace = await cluster.namespace("apps")
    await cluster.account(namespace, "looker")
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    named = {"metadata": {"name": f"looker-{namespace}"}}
    await cluster.client.create(CLUSTER_ROLES, {**named, "rules": rules})
    role = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": f"looker-{namespace}",
    }
    subjects = [{"kind": "ServiceAccount", "name": "looker", "namespace": namespace}]
    await cluster.client.create(
        CLUSTER_ROLE_BINDINGS, {**named, "roleRef": role, "subjects": subjects}
    )
    address = own_address()
    await sidecar_pod(cluster, namespace, app_id, address, (free_port(), free_port()))
    token = await cluster.token(namespace, "looker", [])
    config = cluster.server.kubeconfig("looker", token=token)
    flag = f"--namespace={namespace}"
    async with dashboard_of(
        cluster.server, flag, inside=False, KUBECONFIG=str(config)
    ) as dashboard:
        page = await asyncio.to_thread(dashboard.page, "/")
        row = page.row("Applications and their sidecars", app_id)
        assert row["Sidecar"] == "● ready", "as the kubelet says"
        assert "proxy" in row["Problem"]
        page = await asyncio.to_thread(dashboard.page, "/components", status=502)
        assert "the account may not list components" in page.text
        assert token not in page.source


async def test_the_rights_that_the_chart_gives_are_enough(
    cluster: Cluster, app_id: str, helm: str
) -> None:
    """Every page, as the account of the Deployment; and no secret may be read with it."""
    namespace = await cluster.control_plane()
    for body in rendered(helm, namespace):
        # Roles of the cluster are one for all tests.
        metadata = body["metadata"]
        if body["kind"].startswith("Cluster"):
            metadata["name"] = f"dashboard-{namespace}"
            if "roleRef" in body:
                body["roleRef"]["name"] = metadata["name"]
        await cluster.client.create(CREATED[body["kind"]], body, metadata.get("namespace", ""))
    ports = (free_port(), free_port())
    await sidecar_pod(cluster, namespace, app_id, "127.0.0.1", ports)
    bundle = {"data": {"ca.crt": brought().anchors_pem.decode()}}
    await cluster.client.patch(CONFIG_MAPS, "dapr-trust-bundle", bundle, namespace)
    async with Sentry() as sentry:
        await sentry_pod(cluster, namespace, sentry.metrics_port)
        token = await cluster.token(namespace, "dapr-dashboard", [])
        config = cluster.server.kubeconfig("dashboard", token=token)
        flag = f"--control-plane-namespace={namespace}"
        program = dashboard_of(cluster.server, flag, inside=True, KUBECONFIG=str(config))
        async with program as dashboard:
            for path in PAGES:
                page = await asyncio.to_thread(dashboard.page, path)
                assert "may not" not in page.text
            for name in (
                "scopes",
                "version",
                "instances/All",
                "components/All",
                "controlplanestatus",
            ):
                answer = await asyncio.to_thread(dashboard.get, f"/api/{name}")
                assert answer.status == 200, answer.body
            page = await asyncio.to_thread(dashboard.page, "/controlplane")
            assert page.row("Certificates", "Root certificate")["Left"].startswith("● ")
            issuer = page.row("Certificates", "Issuer certificate")
            assert issuer["Where"] == f"metrics of {namespace}/dapr-sentry-0"
            assert issuer["Ends"].startswith(f"{sentry_end(sentry):%Y-%m-%d %H:%M}")
            path = f"/apps/{namespace}/{app_id}-0/logs/daprd"
            page = await asyncio.to_thread(dashboard.page, path)
            assert "No line." in page.text, "the right is there; of a pod on no node nothing is"
    async with KubeClient(kubeconfig_login(config)) as client:
        with pytest.raises(ForbiddenError):
            await client.get(SECRETS, "dapr-trust-bundle", namespace)


def rendered(helm: str, namespace: str) -> list[dict[str, Any]]:
    """The account of the chart's dashboard and its roles."""
    command = [helm, "template", "dapr", str(CHART), "--namespace", namespace]
    command += ["--set", "dapr_dashboard.enabled=true"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    found = (yaml.load(part, yaml.CSafeLoader) for part in done.stdout.split("\n---\n"))
    return [
        body
        for body in found
        if body and body["kind"] in CREATED and body["metadata"]["name"] == "dapr-dashboard"
    ]


async def sentry_pod(cluster: Cluster, namespace: str, metrics_port: int) -> None:
    """A pod of the real sentry that serves its metrics on this machine."""
    container = {"name": "dapr-sentry", "image": "localhost/dapr/sentry:0.1.0"}
    arguments = {"args": ["--metrics-port", str(metrics_port)]}
    body = {
        "metadata": {"name": "dapr-sentry-0", "labels": {"app": "dapr-sentry"}},
        "spec": {"serviceAccountName": "dapr-sentry", "containers": [{**container, **arguments}]},
    }
    await cluster.client.create(PODS, body, namespace)
    await report(cluster, namespace, "dapr-sentry-0", "dapr-sentry", "127.0.0.1", restartCount=2)


def sentry_end(sentry: Sentry) -> datetime:
    """When the certificate ends that this sentry made for itself."""
    pem = (sentry.credentials / "issuer.crt").read_bytes()
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc


async def test_the_command_looks_at_the_users_cluster(cluster: Cluster, app_id: str) -> None:
    namespace = await cluster.namespace("apps")
    ports = (free_port(), free_port())
    await sidecar_pod(cluster, namespace, app_id, own_address(), ports)
    program = Dashboard(
        "-k",
        "-n",
        namespace,
        command=[sys.executable, "-m", "dapr_cli", "dashboard"],
        env={"KUBECONFIG": str(cluster.server.admin)},
    )
    async with program as dashboard:
        page = await asyncio.to_thread(dashboard.page, "/")
        row = page.row("Applications and their sidecars", app_id)
        assert (row["Namespace"], row["Sidecar"]) == (namespace, "● ready")
        assert "connection refused" in row["Problem"], "said by the API server"
        page = await asyncio.to_thread(dashboard.page, "/controlplane")
        assert "No pod of a control plane was found." in page.text


def test_in_a_pod_its_own_account_is_used() -> None:
    """Nobody's home is not looked for: users of images have none."""
    env = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1", "KUBECONFIG": ""}
    program = Dashboard("--kubernetes", env=env, exit_code=1)
    program.start()
    assert program.wait_exit() == 1
    assert "service account token" in program.log
    assert "Traceback" not in program.log


def test_without_a_cluster_the_program_says_why() -> None:
    program = Dashboard("--kubernetes", env={"KUBECONFIG": "/nowhere"}, exit_code=1)
    program.start()
    assert program.wait_exit() == 1
    assert "there is no kubeconfig: /nowhere does not exist" in program.log
