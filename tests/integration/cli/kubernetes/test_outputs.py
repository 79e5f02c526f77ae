"""What commands print of a cluster, letter by letter: tables, JSON, YAML, logs, empty ones."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from harness.kube_cluster import Cluster
from harness.stand_in_kubelet import kubelet

from dapr_common.kube.kinds import (
    COMPONENTS,
    CONFIGURATIONS,
    PODS,
    SECRETS,
    Kind,
    Selection,
)

MCP_SERVERS = Kind("dapr.io", "v1alpha1", "mcpservers")
MANIFESTS = Path(__file__).parents[3] / "data" / "manifests"
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d\.\d\d")


def without_times(table: str) -> str:
    """A table with dots for times and ages, its columns as wide as they were."""
    dotted = TIME.sub(lambda found: "." * len(found[0]), table)
    return re.sub(r"(?<=  )\d+[smhd]\b( *)", lambda found: _age(found[0]), dotted)


def _age(shown: str) -> str:
    return "..".ljust(len(shown)) if shown.endswith(" ") else ".."


KINDS = {COMPONENTS: "Component", MCP_SERVERS: "MCPServer"}


async def made(cluster: Cluster, kind: Kind, namespace: str, name: str, **body: Any) -> None:
    head = {"apiVersion": f"{kind.group}/v1alpha1", "kind": KINDS[kind]} if kind in KINDS else {}
    await cluster.client.create(kind, {**head, "metadata": {"name": name}, **body}, namespace)


def sidecar(*arguments: str) -> dict[str, Any]:
    return {"name": "daprd", "image": "x", "args": ["/daprd", *arguments]}


def app(node: str = "") -> dict[str, Any]:
    return {"serviceAccountName": "app", **({"nodeName": node} if node else {})}


@pytest.fixture
async def shop(cluster: Cluster) -> str:
    namespace = await cluster.namespace("shop")
    await cluster.account(namespace, "app")
    return namespace


async def test_components(dapr, cluster: Cluster, shop: str) -> None:
    spec = {"metadata": [], "type": "state.in-memory", "version": "v1"}
    await made(cluster, COMPONENTS, shop, "store", spec=spec, scopes=["b", "a"])
    await made(cluster, COMPONENTS, shop, "other-store", spec=spec)
    table = await dapr.out("components", "-k", "--namespace", shop)
    assert without_times(table) == (
        f"NAMESPACE      NAME         TYPE             VERSION  SCOPES  CREATED              AGE\n"
        f"{shop}  other-store  state.in-memory  v1               ...................  ..\n"
        f"{shop}  store        state.in-memory  v1       b,a     ...................  ..\n"
    )
    assert await dapr.out("components", "-k", "--namespace", shop, "-o", "json") == json.dumps(
        [{"name": name, "namespace": shop, "spec": spec} for name in ("other-store", "store")],
        indent=2,
    )


async def test_configurations(dapr, cluster: Cluster, shop: str) -> None:
    measured = {"enabled": True}  # the kind's default
    spec = {"metric": measured, "metrics": measured, "tracing": {"samplingRate": "1"}}
    await cluster.configuration(shop, "appconfig", spec)
    await cluster.configuration(shop, "daprsystem", {})
    everywhere = await dapr.out("configurations", "-k", "--namespace", shop)
    assert without_times(everywhere) == (
        f"NAMESPACE      NAME       TRACING-ENABLED  METRICS-ENABLED  AGE  CREATED\n"
        f"{shop}  appconfig  true             true             ..   ...................\n"
    )
    where = ["configurations", "--namespace", shop, "-n", "appconfig", "-o"]
    expected = [{"name": "appconfig", "namespace": shop, "spec": spec}]
    assert await dapr.out(*where, "json") == json.dumps(expected, indent=2)
    assert await dapr.out(*where, "yaml") == (
        f"- name: appconfig\n  namespace: {shop}\n  spec:\n"
        "    metric:\n      enabled: true\n    metrics:\n      enabled: true\n"
        "    tracing:\n      samplingRate: '1'\n"
    )
    table = await dapr.out(*where, "list")
    assert without_times(table) == without_times(everywhere)


async def test_mcpservers(dapr, cluster: Cluster, shop: str) -> None:
    text = (MANIFESTS / "mcpservers.yaml").read_text(encoding="utf-8")
    bodies = {body["metadata"]["name"]: body for body in yaml.safe_load_all(text)}
    for name in ("search", "files"):
        body = {key: value for key, value in bodies[name].items() if key in ("spec", "scopes")}
        await made(cluster, MCP_SERVERS, shop, name, **body)
    table = await dapr.out("mcpservers", "-k", "--namespace", shop)
    assert without_times(table) == (
        "NAMESPACE      NAME    TRANSPORT       TARGET                       SCOPES  "
        "CREATED              AGE\n"
        f"{shop}  files   stdio           /usr/local/bin/files                 "
        "...................  ..\n"
        f"{shop}  search  streamableHTTP  https://mcp.example.com/mcp  shop    "
        "...................  ..\n"
    )
    named = ["mcpservers", "-k", "-A", "-n", "files", "-o"]
    found = json.loads(await dapr.out(*named, "json"))
    (own,) = [one for one in found if one["namespace"] == shop]
    assert own == {"name": "files", "namespace": shop, "spec": bodies["files"]["spec"]}
    assert own in yaml.safe_load(await dapr.out(*named, "yaml"))


async def test_list(dapr, cluster: Cluster, shop: str) -> None:
    for name, container in (
        ("orders-1", sidecar("--app-id", "orders", "--app-port", "8000")),
        ("idle-1", sidecar("--app-id=idle")),
    ):
        await made(cluster, PODS, shop, name, spec={**app(), "containers": [container]})
    table = await dapr.out("list", "-k", "--namespace", shop)
    assert without_times(table) == (
        f"NAMESPACE      APP ID  APP PORT  AGE  CREATED\n"
        f"{shop}  idle              ..   ...................\n"
        f"{shop}  orders  8000      ..   ...................\n"
    )
    text = await dapr.out("list", "-k", "--namespace", shop, "-o", "json")
    assert text.endswith("}\n]")
    found = json.loads(text)
    assert list(found[1]) == ["namespace", "appId", "appPort", "age", "created"]
    assert TIME.fullmatch(found[1]["created"])


EMPTY = {"json": "[]", "yaml": "[]\n"}


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("components", "components"),
        ("configurations", "configurations"),
        ("mcpservers", "mcpservers"),
        ("list", "Dapr instances"),
    ],
)
async def test_nothing(verb: str, what: str, dapr, cluster: Cluster) -> None:
    namespace = await cluster.namespace("empty")
    where = [verb, "-k", "--namespace", namespace]
    assert await dapr.out(*where) == f"ℹ️  No {what} found.\n"  # noqa: RUF001 - the sign
    for output, text in EMPTY.items():
        assert await dapr.out(*where, "-o", output) == text
    told = json.loads(await dapr.out("--log-as-json", *where))
    assert (told["status"], told["msg"]) == ("info", f"No {what} found.")


async def test_status_of_no_control_plane(dapr, cluster: Cluster) -> None:
    for output in ([], ["-o", "json"]):
        done = await dapr("status", "-k", *output)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "❌  No status returned. Is Dapr initialized in your cluster?\n"


async def test_status(dapr, cluster: Cluster, shop: str) -> None:
    spec = {**app(), "containers": [{"name": "x", "image": "registry:5000/dapr/sentry:1.18.3"}]}
    body = {"metadata": {"name": "s", "labels": {"app": "dapr-sentry"}}, "spec": spec}
    await cluster.client.create(PODS, body, shop)
    assert without_times(await dapr.out("status", "-k")) == (
        "NAME         NAMESPACE      HEALTHY  STATUS   REPLICAS  VERSION  AGE  CREATED\n"
        f"dapr-sentry  {shop}  False    Pending  1         1.18.3   ..   ...................\n"
    )
    (found,) = yaml.safe_load(await dapr.out("status", "-k", "-o", "yaml"))
    assert list(found) == [
        *("name", "namespace", "healthy", "status", "replicas", "version", "age", "created")
    ]


async def test_logs(dapr, cluster: Cluster, shop: str) -> None:
    async with kubelet(cluster) as node:
        for pod, app_id in (("a-0", "orders"), ("a-1", "orders"), ("b-0", "payments")):
            containers = [{"name": "app", "image": "x"}, sidecar("--app-id", app_id)]
            spec = {**app(node.node), "containers": containers}
            await made(cluster, PODS, shop, pod, spec=spec)
            node.logs[shop, pod, "daprd"] = f"time=now msg=“{pod}”\nno end".encode()
        try:
            logs = ["logs", "-k", "-n", shop, "-a"]
            assert await dapr.out(*logs, "orders") == "time=now msg=“a-0”\nno end"
            assert await dapr.out(*logs, "orders", "-p", "a-1") == "time=now msg=“a-1”\nno end"
            assert await dapr.out(*logs, "payments") == "time=now msg=“b-0”\nno end"
            assert [query.get("follow") for query in node.queries] == [None] * 3
            done = await dapr(*logs, "orders", "--pod-name", "b-0")
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.splitlines() == [
                f"❌  couldn't find a pod b-0 with a sidecar of app id orders in namespace {shop}",
                "ℹ️  'dapr list -k' shows the apps that have sidecars.",  # noqa: RUF001
            ]
            del node.logs[shop, "b-0", "daprd"]
            done = await dapr(*logs, "payments")
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith("❌  Kubernetes: ")
        finally:
            for pod in ("a-0", "a-1", "b-0"):
                await cluster.client.delete(PODS, pod, shop)


@pytest.fixture
async def bare(cluster: Cluster) -> Cluster:
    """Without what a control plane keeps."""
    for kind, name in ((CONFIGURATIONS, "daprsystem"), (SECRETS, "dapr-trust-bundle")):
        wanted = Selection(kind, fields=f"metadata.name={name}")
        for one in (await cluster.client.list_all(wanted)).items:
            await cluster.client.delete(kind, name, one["metadata"]["namespace"])
    return cluster


async def test_a_cluster_without_dapr(dapr, bare: Cluster) -> None:
    hint = "ℹ️  Is Dapr installed? 'dapr status -k' shows it."  # noqa: RUF001 - the sign
    done = await dapr("mtls", "-k")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "❌  there is no Configuration daprsystem in the cluster",
        hint,
    ]
    for verb, where, flags in (
        ("expiry", "any namespace", ()),
        ("export", "namespace dapr-system", ("-n", "dapr-system")),
    ):
        done = await dapr("mtls", verb, "-k", *flags)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines() == [
            f"❌  there is no Secret dapr-trust-bundle in {where}",
            hint,
        ]
    await bare.undefine(MCP_SERVERS)
    done = await dapr("mcpservers", "-k")
    assert (done.returncode, done.stdout) == (1, "")
    failure, hint = done.stderr.splitlines()
    assert failure.startswith("❌  Kubernetes: GET /apis/dapr.io/v1alpha1/mcpservers: ")
    assert hint.endswith(
        "Dapr's kinds are not known to this cluster: 'dapr init -k' installs them."
    )


async def test_two_control_planes(dapr, bare: Cluster) -> None:
    both = sorted([await bare.namespace("system"), await bare.namespace("system")])
    for namespace in both:
        await made(bare, SECRETS, namespace, "dapr-trust-bundle")
    done = await dapr("mtls", "expiry", "-k")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"❌  there are several Secrets dapr-trust-bundle, in the namespaces {', '.join(both)}",
        "ℹ️  Say which one is meant: --namespace NAME",  # noqa: RUF001 - the sign
    ]
    done = await dapr("mtls", "expiry", "-k", "--namespace", both[1])
    assert f"Secret dapr-trust-bundle in namespace {both[1]} has no ca.crt" in done.stderr
    for namespace in both:
        await bare.client.delete(SECRETS, "dapr-trust-bundle", namespace)


async def test_credentials_the_cluster_does_not_know(dapr, cluster: Cluster) -> None:
    kubeconfig = cluster.server.kubeconfig("stranger", token="a-token-of-nobody")
    done = await dapr("components", "-k", KUBECONFIG=str(kubeconfig))
    assert (done.returncode, done.stdout) == (1, "")
    failure, hint = done.stderr.splitlines()
    assert failure == "❌  Kubernetes: GET /apis/dapr.io/v1alpha1/components: Unauthorized"
    assert hint.endswith("The cluster does not know your credentials: log in to it again.")


async def test_another_clusters_certificate(dapr, cluster: Cluster, tmp_path: Path) -> None:
    config = json.loads(cluster.server.admin.read_text())
    ca = trustme.CA().cert_pem.bytes()
    config["clusters"][0]["cluster"]["certificate-authority-data"] = b64encode(ca).decode()
    (tmp_path / "other").write_text(json.dumps(config))
    done = await dapr("status", "-k", KUBECONFIG=str(tmp_path / "other"))
    assert (done.returncode, done.stdout) == (1, "")
    failure, hint = done.stderr.splitlines()
    assert "certificate verify failed" in failure
    assert hint.endswith(
        "The server does not prove who it is to your kubeconfig: is that of another cluster?"
    )
