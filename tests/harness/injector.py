"""A real dapr-injector, and what a cluster holds for it: as the chart makes it, without a node.

The API server finds the webhook by its Service, which leads to this machine; so it checks the name
in the injector's certificate as in any cluster. What the kubelet does, a test does: the trust
anchors' file follows the ConfigMap when ``project`` is called.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shlex
import shutil
import tempfile
import urllib.error
import urllib.request
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.kube_cluster import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    Cluster,
)
from harness.programs import Program, console_script, free_port
from harness.sentry import Sentry

from dapr_common.kube.kinds import EVENTS, MUTATING_WEBHOOKS, PODS, Kind, KubeObject, Selection
from dapr_common.kube.login import Login, kubeconfig_login

NAME = "dapr-sidecar-injector"
SERVICES = Kind("", "v1", "services")
ROOT_IS_ALLOWED = {"DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK": "true"}
_GROUP = "rbac.authorization.k8s.io"
# What the chart allows the injector.
_CLUSTER_RULES = [
    {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "list"]},
    {
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["mutatingwebhookconfigurations"],
        "resourceNames": [NAME],
        "verbs": ["get", "list", "watch", "patch"],
    },
    {"apiGroups": ["dapr.io"], "resources": ["components"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
]
_RULES = [
    {
        "apiGroups": ["dapr.io"],
        "resources": ["configurations"],
        "resourceNames": ["daprsystem"],
        "verbs": ["get", "list", "watch"],
    },
]


class Injector(Program):
    """One injector on free ports."""

    def __init__(
        self,
        folder: Path,
        kubeconfig: Path,
        *,
        namespace: str,
        sentry_port: int,
        port: int | None = None,
        env: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
        exit_code: int | None = 0,
        ready: bool = True,
    ) -> None:
        self.port = port or free_port()
        self.health_port, self.metrics_port = free_port(), free_port()
        self._ready = ready
        values: dict[str, object] = {
            "port": self.port,
            "healthz-port": self.health_port,
            "metrics-port": self.metrics_port,
            "kubeconfig": kubeconfig,
            "log-level": "debug",
        }
        command = shlex.split(os.environ.get("INJECTOR", "")) or [console_script("dapr-injector")]
        super().__init__(
            [*command, *(f"--{name}={value}" for name, value in values.items()), *flags],
            name="dapr-injector",
            env={
                "NAMESPACE": namespace,
                "SIDECAR_IMAGE": "example/daprd:1",
                "DAPR_TRUST_ANCHORS_FILE": str(folder / "ca.crt"),
                "DAPR_SENTRY_TOKEN_FILE": str(folder / "token"),
                "DAPR_SENTRY_ADDRESS": f"127.0.0.1:{sentry_port}",
                "KUBE_CLUSTER_DOMAIN": "cluster.local",
                **ROOT_IS_ALLOWED,
                **(env or {}),
            },
            exit_code=exit_code,
        )

    def is_ready(self) -> bool:
        return not self._ready or self.health() == 200

    def health(self) -> int:
        """The status of ``/healthz``, 0 when there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        """Sample with labels → value, as the text has them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=5)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines if name}


class InjectorPlace:
    """A control plane namespace with everything an injector needs, and one of applications."""

    def __init__(self, cluster: Cluster, namespace: str, apps: str) -> None:
        self.cluster, self.namespace, self.apps = cluster, namespace, apps
        self.folder = Path(tempfile.mkdtemp(prefix="injector-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, True)
        self.port = free_port()
        self._kubeconfig = Path()

    @classmethod
    async def make(cls, cluster: Cluster, mtls: Mapping[str, Any] | None = None) -> InjectorPlace:
        """Everything but the webhook's registration and the programs."""
        place = cls(cluster, await cluster.control_plane(), await cluster.namespace("apps"))
        await cluster.account(place.apps, "default")
        await cluster.account(place.namespace, "dapr-injector")
        await place._allow()
        await cluster.configuration(place.namespace, "daprsystem", {"mtls": mtls or {}})
        service = {"type": "ExternalName", "externalName": "localhost"}
        body = {"metadata": {"name": NAME}, "spec": service}
        await cluster.client.create(SERVICES, body, place.namespace)
        await place._log_in()
        return place

    async def _allow(self) -> None:
        subject = {
            "kind": "ServiceAccount",
            "name": "dapr-injector",
            "namespace": self.namespace,
        }
        named = {"metadata": {"name": f"{self.namespace}-injector"}}
        client = self.cluster.client
        for role, binding, kind, rules, where in (
            (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, "ClusterRole", _CLUSTER_RULES, ""),
            (ROLES, ROLE_BINDINGS, "Role", _RULES, self.namespace),
        ):
            await client.create(role, {**named, "rules": rules}, where)
            reference = {"apiGroup": _GROUP, "kind": kind, "name": named["metadata"]["name"]}
            body = {**named, "roleRef": reference, "subjects": [subject]}
            await client.create(binding, body, where)

    async def _log_in(self) -> None:
        """The injector's pod, its token for sentry, and its way to the API server."""
        control_plane = {"dapr.io/control-plane": "injector"}
        pod = await self.cluster.pod(self.namespace, f"{NAME}-1", "dapr-injector", control_plane)
        audience = f"spiffe://cluster.local/ns/{self.namespace}/dapr-sentry"
        token = await self.cluster.token(self.namespace, "dapr-injector", [audience], pod)
        (self.folder / "token").write_text(token)
        token = await self.cluster.token(self.namespace, "dapr-injector", [])
        self._kubeconfig = self.cluster.server.kubeconfig(f"{self.namespace}-injector", token=token)

    # --- programs ---------------------------------------------------------------------------

    async def sentry(self) -> Sentry:
        """A sentry in Kubernetes mode, not started."""
        token = await self.cluster.token(self.namespace, "dapr-sentry", [])
        kubeconfig = self.cluster.server.kubeconfig(f"{self.namespace}-sentry", token=token)
        return Sentry(
            namespace=self.namespace,
            flags=["--mode=kubernetes", "--config=daprsystem", f"--kubeconfig={kubeconfig}"],
            env=ROOT_IS_ALLOWED,
        )

    def injector(self, sentry: Sentry, **more: Any) -> Injector:
        """An injector behind the Service, not started."""
        return Injector(
            self.folder,
            self._kubeconfig,
            namespace=self.namespace,
            sentry_port=sentry.port,
            **{"port": self.port, **more},
        )

    async def project(self) -> str:
        """Bring the trust anchors' file to what the ConfigMap says."""
        _, config_map = await self.cluster.bundle(self.namespace)
        fresh = self.folder / "ca.crt.new"
        fresh.write_text(config_map["ca.crt"])
        fresh.rename(self.folder / "ca.crt")
        return config_map["ca.crt"]

    # --- the registration -------------------------------------------------------------------

    async def register(
        self, *, policy: str = "Fail", versions: Sequence[str] = ("v1", "v1beta1")
    ) -> None:
        """As the chart does, but a failing webhook is seen, and only these namespaces ask it."""
        where = {"kubernetes.io/metadata.name": self.apps}
        body = {
            "metadata": {"name": NAME},
            "webhooks": [
                {
                    "name": "sidecar-injector.dapr.io",
                    "clientConfig": {
                        "service": {
                            "name": NAME,
                            "namespace": self.namespace,
                            "path": "/mutate",
                            "port": self.port,
                        }
                    },
                    "rules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "resources": ["pods"],
                            "operations": ["CREATE"],
                        }
                    ],
                    "reinvocationPolicy": "IfNeeded",
                    "failurePolicy": policy,
                    "sideEffects": "None",
                    "admissionReviewVersions": list(versions),
                    "namespaceSelector": {"matchLabels": where},
                }
            ],
        }
        await self.cluster.client.create(MUTATING_WEBHOOKS, body)

    async def ca_bundle(self) -> str:
        """What the registration says now; empty when nothing."""
        found = await self.cluster.client.get(MUTATING_WEBHOOKS, NAME)
        return str(found["webhooks"][0]["clientConfig"].get("caBundle") or "")

    async def until_injected(self, seconds: float = 40.0) -> None:
        """The API server learns of a registration by a watch: wait until it asks."""
        async with asyncio.timeout(seconds):
            while not (await self.create("probe", dry_run=True)).has_sidecar:
                await asyncio.sleep(0.05)

    async def events(self, count: int, seconds: float = 40.0) -> list[KubeObject]:
        """The Events of the applications' namespace, once there are so many."""
        selection = Selection(EVENTS, self.apps)
        async with asyncio.timeout(seconds):
            while len(found := (await self.cluster.client.list_all(selection)).items) < count:
                await asyncio.sleep(0.05)
        return list(found)

    async def login_of(self, account: str) -> Login:
        """An account of the applications' namespace that may make pods."""
        await self.cluster.account(self.apps, account)
        named = {"metadata": {"name": account}}
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}]
        client = self.cluster.client
        await client.create(ROLES, {**named, "rules": rules}, self.apps)
        subject = {"kind": "ServiceAccount", "name": account, "namespace": self.apps}
        role = {"apiGroup": _GROUP, "kind": "Role", "name": account}
        body = {**named, "roleRef": role, "subjects": [subject]}
        await client.create(ROLE_BINDINGS, body, self.apps)
        token = await self.cluster.token(self.apps, account, [])
        return kubeconfig_login(
            self.cluster.server.kubeconfig(f"{self.apps}-{account}", token=token)
        )

    # --- pods -------------------------------------------------------------------------------

    async def create(
        self,
        name: str,
        annotations: Mapping[str, str] | None = None,
        *,
        login: Login | None = None,
        dry_run: bool = False,
        spec: Mapping[str, Any] | None = None,
        **metadata: Any,
    ) -> Created:
        """Make a pod that wants a sidecar, as the administrator if nobody else is named."""
        wanted = {"dapr.io/enabled": "true", "dapr.io/app-id": "orders", **(annotations or {})}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": wanted, **metadata},
            "spec": spec or {"containers": [{"name": "app", "image": "none"}]},
        }
        return await asyncio.to_thread(
            _post,
            login or kubeconfig_login(self.cluster.server.admin),
            PODS.collection(self.apps) + ("?dryRun=All" if dry_run else ""),
            body,
        )


@dataclass(frozen=True)
class Created:
    """What the API server answered; ``pod`` is as stored, or a ``Status`` that says why not."""

    status: int
    warnings: list[str]
    pod: KubeObject

    @property
    def has_sidecar(self) -> bool:
        return self.status == 201 and "daprd" in self.containers

    @property
    def containers(self) -> dict[str, Any]:
        return {one["name"]: one for one in self.pod["spec"]["containers"]}

    @property
    def message(self) -> str:
        return str(self.pod.get("message", ""))


def _post(login: Login, path: str, body: KubeObject) -> Created:
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=login.tls)
    )
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token := login.token():
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(login.server + path, json.dumps(body).encode(), headers)
    try:
        with opener.open(request, timeout=20) as response:
            return _created(response.status, response)
    except urllib.error.HTTPError as error:
        with error:
            return _created(error.code, error)


def _created(status: int, response: Any) -> Created:
    warnings = response.headers.get_all("Warning") or []
    texts = [text.partition(' - "')[2].removesuffix('"') for text in warnings]
    return Created(status, texts, json.loads(response.read()))
