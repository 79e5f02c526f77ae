"""A control plane of its own whose operator the API server asks, as the chart registers it.

The API server finds the webhooks by their Service, which leads to this machine, so it checks the
name in the operator's certificate as in any cluster. Only the port is another than the chart's.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from harness.authorities import now
from harness.kube_cluster import Cluster
from harness.operator_process import Operator
from harness.programs import free_port
from harness.sentry import Sentry

from dapr_common.kube.api_errors import ApiError, ConflictError
from dapr_common.kube.kinds import CRDS, VALIDATING_WEBHOOKS, Kind, KubeObject, Selection
from dapr_common.security.authority import CaBundle, Life, new_bundle

_ROOT = Path(__file__).parents[2]
_CHART = _ROOT / "tests" / "golden" / "chart" / "default.yaml"
_SUBSCRIPTIONS = _ROOT / "crds" / "subscriptions.yaml"
_SERVICES = Kind("", "v1", "services")
SUBSCRIPTIONS_V1 = Kind("dapr.io", "v1alpha1", "subscriptions")
SUBSCRIPTIONS = Kind("dapr.io", "v2alpha1", "subscriptions")
VALIDATION = "dapr-validation"
CRD = "subscriptions.dapr.io"


def chart_object(kind: str, name: str) -> KubeObject:
    """One of the default rendering's objects."""
    for body in yaml.safe_load_all(_CHART.read_text()):
        if body and (body["kind"], body["metadata"]["name"]) == (kind, name):
            return dict(body)
    raise AssertionError(f"the chart has no {kind} {name}")


class ControlPlane:
    """A namespace with what the operator needs; ``port`` is where the API server asks."""

    def __init__(self, cluster: Cluster, namespace: str, apps: str) -> None:
        self.cluster, self.namespace, self.apps = cluster, namespace, apps
        self.port = free_port()
        self.sentry: Sentry
        self.bundle = new_bundle("cluster.local", namespace, Life.of(now()))

    @classmethod
    @asynccontextmanager
    async def make(
        cls, cluster: Cluster, mtls: Mapping[str, Any] | None = None
    ) -> AsyncIterator[ControlPlane]:
        """With a sentry that runs, and without an operator."""
        namespace, apps = await cluster.namespace("dapr-system"), await cluster.namespace("apps")
        plane = cls(cluster, namespace, apps)
        service = {"type": "ExternalName", "externalName": "localhost"}
        body = {"metadata": {"name": "dapr-webhook"}, "spec": service}
        await cluster.client.create(_SERVICES, body, namespace)
        async with Sentry(bundle=plane.bundle, namespace=namespace, mtls=mtls) as plane.sentry:
            spec = {
                "enabled": True,
                "controlPlaneTrustDomain": "cluster.local",
                "sentryAddress": f"127.0.0.1:{plane.sentry.port}",
            }
            await cluster.configuration(namespace, "daprsystem", {"mtls": spec})
            plane.project()
            await plane.register()
            try:
                yield plane
            finally:
                await plane._leave()

    async def _leave(self) -> None:
        """Leave nothing behind that the API server would want to have converted."""
        client = self.cluster.client
        await client.delete(VALIDATING_WEBHOOKS, VALIDATION)
        for one in (await client.list_all(Selection(SUBSCRIPTIONS, self.apps))).items:
            await self.delete(SUBSCRIPTIONS, one["metadata"]["name"])

    def operator(self, **more: Any) -> Operator:
        """One that the API server asks, unless its ``webhook_port`` is another."""
        port = more.pop("webhook_port", self.port)
        flags = [
            f"--webhook-server-port={port}",
            f"--trust-anchors-file={self._anchors_file}",
            "--watch-interval=0",
        ]
        env = {"ENABLE_WEBHOOKS": "true"}
        return Operator(self.cluster.server, self.sentry, flags=flags, env=env, **more)

    # --- registration -----------------------------------------------------------------------

    async def register(self) -> None:
        """The definition as it is shipped, and the chart's object: without a caBundle."""
        await self.reset_definition()
        body = chart_object("ValidatingWebhookConfiguration", VALIDATION)
        service = body["webhooks"][0]["clientConfig"]["service"]
        service.update(namespace=self.namespace, port=self.port)
        await self.cluster.client.create(VALIDATING_WEBHOOKS, body)

    async def reset_definition(self) -> None:
        """``kubectl replace``, as an upgrade of the definitions is done."""
        client = self.cluster.client
        body: KubeObject = yaml.safe_load(_SUBSCRIPTIONS.read_text())
        body["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["port"] = self.port
        while True:
            found = await client.get(CRDS, CRD)
            body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
            try:
                await client.update(CRDS, body)
            except ConflictError:  # the API server writes its status
                continue
            return

    async def reset_validation(self) -> None:
        """Without a caBundle again."""
        path = "/webhooks/0/clientConfig/caBundle"
        patch = [{"op": "remove", "path": path}]
        await self.cluster.client.patch(VALIDATING_WEBHOOKS, VALIDATION, patch, patch_kind="json")

    async def client_configs(self) -> list[KubeObject]:
        """Those of the definition and of the validation."""
        client = self.cluster.client
        definition = await client.get(CRDS, CRD)
        validation = await client.get(VALIDATING_WEBHOOKS, VALIDATION)
        return [
            definition["spec"]["conversion"]["webhook"]["clientConfig"],
            validation["webhooks"][0]["clientConfig"],
        ]

    async def until_registered(self, *anchors_pem: bytes) -> None:
        """Until both trust exactly these, in this namespace."""
        wanted = base64.b64encode(b"".join(anchors_pem)).decode()
        async with asyncio.timeout(40):
            while True:
                configs = await self.client_configs()
                if all(
                    one.get("caBundle") == wanted and one["service"]["namespace"] == self.namespace
                    for one in configs
                ):
                    return
                await asyncio.sleep(0.02)

    async def until_asked(self) -> None:
        """The API server learns of a registration by a watch: wait until it asks for both."""
        async with asyncio.timeout(40):
            while True:
                refused = await self.refusal(wrong_subscription("probe"))
                if "cannot be used by a sidecar" in refused:
                    return
                if not refused:
                    await self.delete(SUBSCRIPTIONS_V1, "probe")
                await asyncio.sleep(0.05)

    # --- resources --------------------------------------------------------------------------

    async def apply(self, body: Mapping[str, Any]) -> KubeObject:
        """As ``kubectl apply`` does. Raises ``KubeError``."""
        return await self.cluster.client.patch(
            kind_of(body),
            body["metadata"]["name"],
            dict(body),
            self.apps,
            patch_kind="apply",
            field_manager="tests",
        )

    async def refusal(self, body: Mapping[str, Any]) -> str:
        """What is said against an object; empty when it was taken."""
        try:
            await self.apply(body)
        except ApiError as error:
            return str(error)
        return ""

    async def delete(self, kind: Kind, name: str) -> None:
        await self.cluster.client.delete(kind, name, self.apps)

    # --- certificates -----------------------------------------------------------------------

    @property
    def _anchors_file(self) -> Path:
        return self.sentry.folder / "anchors" / "ca.crt"

    async def rotate(self, bundle: CaBundle) -> None:
        """As a person does: sentry has it first, then the kubelet brings the anchors to pods."""
        self.bundle = bundle
        self.sentry.put(bundle)
        await asyncio.to_thread(self.sentry.wait_line, "The issuer certificate has changed")
        self.project()

    def project(self) -> None:
        """As a mounted ConfigMap changes."""
        self._anchors_file.parent.mkdir(exist_ok=True)
        fresh = self._anchors_file.with_name("new")
        fresh.write_bytes(self.bundle.anchors_pem)
        fresh.rename(self._anchors_file)

    async def handshake(self, ca_bundle: str, port: int = 0) -> None:
        """As an API server that has this caBundle. Raises ``ssl.SSLError``."""
        pem = base64.b64decode(ca_bundle).decode()
        context = ssl.create_default_context(cadata=pem)
        name = f"dapr-webhook.{self.namespace}.svc"
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port or self.port, ssl=context, server_hostname=name
        )
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


_PLURALS = {
    "Component": "components",
    "Configuration": "configurations",
    "HTTPEndpoint": "httpendpoints",
    "MCPServer": "mcpservers",
    "Resiliency": "resiliencies",
    "Subscription": "subscriptions",
    "WorkflowAccessPolicy": "workflowaccesspolicies",
}


def kind_of(body: Mapping[str, Any]) -> Kind:
    """Where the API has an object."""
    group, version = str(body["apiVersion"]).split("/")
    return Kind(group, version, _PLURALS[body["kind"]])


def resource(kind: str, name: str, spec: Any, version: str = "v1alpha1") -> KubeObject:
    """An object of Dapr's."""
    return {
        "apiVersion": f"dapr.io/{version}",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def wrong_subscription(name: str) -> KubeObject:
    """One that the schema takes, and no sidecar could use."""
    spec = {"pubsubname": "p", "topic": "", "route": "/r"}
    return resource("Subscription", name, spec)
