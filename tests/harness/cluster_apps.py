"""A cluster without nodes: real API server, operator, sentry; sidecars in pods that never run."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.apiserver import ApiServer, api_server
from harness.authorities import now
from harness.http_call import acall
from harness.kube_cluster import Cluster
from harness.operator_process import Operator, install_all_crds
from harness.sentry import Sentry
from harness.sidecar import Sidecar

from dapr_common.kube.api_errors import AlreadyExistsError
from dapr_common.kube.kinds import CONFIG_MAPS, SECRETS, Kind, KubeObject
from dapr_common.security.authority import CaBundle, Life, new_bundle

COMPONENTS = Kind("dapr.io", "v1alpha1", "components")
CONFIGURATIONS = Kind("dapr.io", "v1alpha1", "configurations")
RESILIENCIES = Kind("dapr.io", "v1alpha1", "resiliencies")
HTTP_ENDPOINTS = Kind("dapr.io", "v1alpha1", "httpendpoints")
SUBSCRIPTIONS = Kind("dapr.io", "v2alpha1", "subscriptions")
WORDS = {
    COMPONENTS: "Component",
    CONFIGURATIONS: "Configuration",
    RESILIENCIES: "Resiliency",
    HTTP_ENDPOINTS: "HTTPEndpoint",
    SUBSCRIPTIONS: "Subscription",
}
_MTLS = {"enabled": True, "controlPlaneTrustDomain": "cluster.local"}
_BUNDLE = "dapr-trust-bundle"


@dataclass
class ControlPlane:
    """Sentry as it runs in a cluster, and what a test needs to start operators."""

    server: ApiServer
    namespace: str
    bundle: CaBundle
    sentry: Sentry
    standalone: Sentry
    """The same authority outside the cluster, for an operator that is no pod."""

    def operator(self, **more: Any) -> Operator:
        return Operator(self.server, self.standalone, **more)


@contextmanager
def running_control_plane() -> Iterator[ControlPlane]:
    """Everything but an operator."""
    with api_server() as server:
        namespace, kubeconfig = asyncio.run(_prepare(server))
        bundle = new_bundle("cluster.local", namespace, Life.of(now()))
        asyncio.run(_store(server, namespace, bundle))
        flags = ["--mode=kubernetes", "--config=daprsystem", f"--kubeconfig={kubeconfig}"]
        env = {"DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK": "true"}
        with (
            Sentry(namespace=namespace, flags=flags, env=env) as sentry,
            Sentry(namespace=namespace, bundle=bundle) as standalone,
        ):
            address = f"127.0.0.1:{standalone.port}"
            asyncio.run(_tell_operator(server, namespace, address))
            yield ControlPlane(server, namespace, bundle, sentry, standalone)


async def _prepare(server: ApiServer) -> tuple[str, Path]:
    cluster = Cluster(server)
    async with cluster.client:
        await install_all_crds(cluster.client)
        namespace = await cluster.control_plane()
        nobody = {"sentryAddress": "127.0.0.1:1"}
        await cluster.configuration(namespace, "daprsystem", {"mtls": {**_MTLS, **nobody}})
        token = await cluster.token(namespace, "dapr-sentry", [])
    return namespace, server.kubeconfig(f"{namespace}-sentry", token=token)


async def _store(server: ApiServer, namespace: str, bundle: CaBundle) -> None:
    cluster = Cluster(server)
    files = {
        "ca.crt": bundle.anchors_pem,
        "issuer.crt": bundle.chain_pem,
        "issuer.key": bundle.key_pem,
    }
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    async with cluster.client as client:
        await client.patch(SECRETS, _BUNDLE, {"data": data}, namespace)
        anchors = {"ca.crt": bundle.anchors_pem.decode()}
        await client.patch(CONFIG_MAPS, _BUNDLE, {"data": anchors}, namespace)


async def _tell_operator(server: ApiServer, namespace: str, sentry_address: str) -> None:
    cluster = Cluster(server)
    async with cluster.client as client:
        patch = {"spec": {"mtls": {"sentryAddress": sentry_address}}}
        await client.patch(CONFIGURATIONS, "daprsystem", patch, namespace)


@dataclass
class Place:
    """A namespace of applications."""

    control_plane: ControlPlane
    cluster: Cluster
    apps: str
    folder: Path
    operator_port: int

    async def sidecar(
        self,
        app_id: str = "orders",
        *,
        config: str = "",
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        operator_port: int = 0,
        control_plane_namespace: str = "",
        **more: Any,
    ) -> Sidecar:
        """A sidecar as the injector would start it, in a pod that exists and never runs."""
        pod = f"{app_id}-{secrets.token_hex(4)}"
        namespace = self.control_plane.namespace
        annotations = {"dapr.io/enabled": "true", "dapr.io/app-id": app_id}
        if config:
            annotations["dapr.io/config"] = config
            flags = [f"--config={config}", *flags]
        made = await self.cluster.pod(self.apps, pod, "app", annotations)
        audience = f"spiffe://cluster.local/ns/{namespace}/dapr-sentry"
        token = self.folder / f"{pod}.token"
        token.write_text(await self.cluster.token(self.apps, "app", [audience], made))
        return Sidecar(
            app_id,
            flags=[
                "--mode=kubernetes",
                f"--control-plane-address=127.0.0.1:{operator_port or self.operator_port}",
                f"--sentry-address=127.0.0.1:{self.control_plane.sentry.port}",
                "--control-plane-trust-domain=cluster.local",
                f"--control-plane-namespace={control_plane_namespace or namespace}",
                *flags,
            ],
            env={
                "NAMESPACE": self.apps,
                "POD_NAME": pod,
                "DAPR_TRUST_ANCHORS": self.control_plane.bundle.anchors_pem.decode(),
                "DAPR_SENTRY_TOKEN_FILE": str(token),
                "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK": "true",
                "KUBECONFIG": str(self.control_plane.server.admin),
                **(env or {}),
            },
            **more,
        )

    async def apply(self, kind: Kind, name: str, spec: Mapping[str, Any], **more: Any) -> None:
        """As ``kubectl apply`` does: the whole object, on the server's side."""
        body: KubeObject = {
            "apiVersion": f"{kind.group}/{kind.version}",
            "kind": WORDS[kind],
            "metadata": {"name": name},
            "spec": dict(spec),
            **more,
        }
        await self.cluster.client.patch(
            kind, name, body, self.apps, patch_kind="apply", field_manager="tests"
        )

    async def component(
        self, name: str, kind: str = "state.in-memory", *, ignore: bool = False, **metadata: Any
    ) -> None:
        """A value is a text, or a mapping such as a ``secretKeyRef``."""
        items = [
            {"name": key, **value} if isinstance(value, dict) else {"name": key, "value": value}
            for key, value in metadata.items()
        ]
        spec: dict[str, Any] = {"type": kind, "version": "v1", "metadata": items}
        if ignore:
            spec["ignoreErrors"] = True
        await self.apply(COMPONENTS, name, spec)

    async def delete(self, kind: Kind, name: str) -> None:
        await self.cluster.client.delete(kind, name, self.apps)

    async def secret(self, name: str, **values: str) -> None:
        await self.secret_bytes(name, **{key: text.encode() for key, text in values.items()})

    async def secret_bytes(self, name: str, **values: bytes) -> None:
        data = {key: base64.b64encode(value).decode() for key, value in values.items()}
        body = {"metadata": {"name": name}, "data": data}
        try:
            await self.cluster.client.create(SECRETS, body, self.apps)
        except AlreadyExistsError:
            await self.cluster.client.patch(SECRETS, name, body, self.apps)


async def components(sidecar: Sidecar) -> dict[str, str]:
    """Name → type of what is loaded, as the metadata API says, without the built-in store."""
    answer = await acall(sidecar.http_port, "GET", "/v1.0/metadata")
    found = {one["name"]: one["type"] for one in answer.json.get("components", [])}
    found.pop("kubernetes", None)
    return found


async def until(sidecar: Sidecar, expected: Mapping[str, str], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while await components(sidecar) != expected:
            await asyncio.sleep(0.01)
