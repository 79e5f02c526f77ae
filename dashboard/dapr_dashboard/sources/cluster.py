"""A Kubernetes cluster: its pods and Dapr's objects. Secrets are never asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from dapr_cli.kube.kinds import RESOURCES
from dapr_cli.kube.pod_log import pod_log
from dapr_common.aio.host import join_host_port
from dapr_common.kube.api_errors import ForbiddenError, KubeError, NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import CONFIG_MAPS, PODS, KubeObject, Selection
from dapr_common.kube.login import Login
from dapr_dashboard.certificates import ends_of
from dapr_dashboard.model import (
    App,
    CertificateFact,
    ControlPlane,
    LogLine,
    Platform,
    Resources,
    SourceError,
)
from dapr_dashboard.sidecars import Sidecars
from dapr_dashboard.sources.manifests import from_bodies
from dapr_dashboard.sources.pod_lines import pod_lines
from dapr_dashboard.sources.pods import CONTROL_PLANE, app_of, metrics_url, service_of

_SHOWN = ("Component", "Configuration", "Resiliency")
_BUNDLE = "dapr-trust-bundle"
_ISSUER_ENDS = "dapr_sentry_issuercert_expiry_timestamp"
_LOG_LINES = 2000
_MOST_LOG_BYTES = 1 << 20


class ClusterSource:
    """``namespace`` narrows apps and resources, ``system`` where the control plane is looked for.

    Empty ones are all namespaces. ``sidecars`` is asked for metrics of the control plane.
    """

    def __init__(
        self, login: Login, sidecars: Sidecars, *, namespace: str, system: str, inside: bool
    ) -> None:
        self.platform: Platform = "kubernetes"
        self.title = f"the cluster at {login.server}"
        if namespace:
            self.title = f"namespace {namespace} of {self.title}"
        self._login = login
        self._client = KubeClient(login)
        self._sidecars = sidecars
        self._namespace, self._system = namespace, system
        self._address = direct if inside else proxied(login)

    async def apps(self) -> list[App]:
        pods = await self._listed(Selection(PODS, self._namespace))
        found = (app_of(pod, self._address) for pod in pods)
        apps = [app for app in found if app is not None]
        return sorted(apps, key=lambda app: (app.namespace, app.app_id, app.name))

    async def resources(self) -> Resources:
        bodies: list[Mapping[str, Any]] = []
        for name in _SHOWN:
            about = {"apiVersion": "dapr.io/v1alpha1", "kind": name}
            found = await self._listed(Selection(RESOURCES[name], self._namespace))
            bodies += [{**about, **body} for body in found]
        return from_bodies(bodies)

    async def control_plane(self) -> ControlPlane:
        labels = f"app in ({','.join(CONTROL_PLANE)})"
        pods = await self._listed(Selection(PODS, self._system, labels=labels))
        pods.sort(
            key=lambda pod: (CONTROL_PLANE.index(pod["metadata"]["labels"]["app"]), _name(pod))
        )
        certificates: list[CertificateFact] = []
        problems = [] if pods else ["No pod of a control plane was found."]
        for namespace in sorted({str(pod["metadata"]["namespace"]) for pod in pods}):
            try:
                certificates += await self._roots(namespace)
            except KubeError as error:
                problems.append(f"Root certificates of {namespace}: {error}")
        for pod in pods:
            if pod["metadata"]["labels"]["app"] == "dapr-sentry":
                certificates += await self._issuer(pod)
        return ControlPlane(
            services=[service_of(pod) for pod in pods],
            certificates=certificates,
            problems=problems,
        )

    def logs(self, app: App) -> tuple[str, ...]:
        return tuple(app.containers)

    async def log(self, app: App, name: str) -> str:
        found = bytearray()
        try:
            async for chunk in pod_log(
                self._login, app.namespace, app.name, name, lines=_LOG_LINES
            ):
                found += chunk
                del found[:-_MOST_LOG_BYTES]
        except KubeError as error:
            raise SourceError(str(error)) from error
        return found.decode("utf-8", "replace")

    def lines(
        self, app: App, name: str, *, last: int, follow: bool
    ) -> AsyncGenerator[LogLine, None]:
        return pod_lines(self._login, app.namespace, app.name, name, last=last, follow=follow)

    async def close(self) -> None:
        await self._client.close()

    async def _listed(self, selection: Selection) -> list[KubeObject]:
        try:
            return list((await self._client.list_all(selection)).items)
        except NotFoundError as error:
            raise SourceError(
                f"the cluster does not know {selection.kind.plural}: is Dapr installed? "
                f"'dapr init -k' installs it ({error})"
            ) from error
        except ForbiddenError as error:
            raise SourceError(f"the account may not list {selection}: {error}") from error
        except KubeError as error:
            raise SourceError(str(error)) from error

    async def _roots(self, namespace: str) -> list[CertificateFact]:
        """Out of the ConfigMap that everybody may read, not out of the Secret."""
        try:
            bundle = await self._client.get(CONFIG_MAPS, _BUNDLE, namespace)
        except NotFoundError:
            return []
        pem = str((bundle.get("data") or {}).get("ca.crt") or "")
        where = f"ConfigMap {namespace}/{_BUNDLE}"
        return ends_of("Root certificate", where, pem.encode())

    async def _issuer(self, pod: KubeObject) -> list[CertificateFact]:
        """As sentry's metrics tell it."""
        if not (url := metrics_url(pod, self._address)):
            return []
        seconds = (await self._sidecars.samples(url)).total(_ISSUER_ENDS)
        if not seconds:
            return []
        where = f"metrics of {pod['metadata']['namespace']}/{_name(pod)}"
        ends = datetime.fromtimestamp(seconds, UTC)
        return [CertificateFact("Issuer certificate", where, ends)]


def direct(pod: KubeObject, port: str) -> str:
    """Inside the cluster: the pod's own address."""
    address = str((pod.get("status") or {}).get("podIP") or "")
    return f"http://{join_host_port(address, int(port))}" if address and port.isdigit() else ""


def proxied(login: Login) -> Callable[[KubeObject, str], str]:
    """Outside: through the API server, with the user's own rights."""

    def url(pod: KubeObject, port: str) -> str:
        if not port.isdigit() or not (pod.get("status") or {}).get("podIP"):
            return ""
        metadata = pod["metadata"]
        return login.server + PODS.object(f"{_name(pod)}:{port}", metadata["namespace"], "proxy")

    return url


def _name(pod: KubeObject) -> str:
    return str(pod["metadata"]["name"])
