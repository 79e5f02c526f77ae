"""What a test puts into a cluster: namespaces, accounts, pods that never run, bound tokens."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from harness.apiserver import ApiServer

from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import (
    CONFIG_MAPS,
    CONFIGURATIONS,
    PODS,
    SECRETS,
    Kind,
    KubeObject,
    Selection,
)
from dapr_common.kube.login import kubeconfig_login

NAMESPACES = Kind("", "v1", "namespaces", namespaced=False)
ACCOUNTS = Kind("", "v1", "serviceaccounts")
CRDS = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
_RBAC = "rbac.authorization.k8s.io"
CLUSTER_ROLES = Kind(_RBAC, "v1", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDINGS = Kind(_RBAC, "v1", "clusterrolebindings", namespaced=False)
ROLES = Kind(_RBAC, "v1", "roles")
ROLE_BINDINGS = Kind(_RBAC, "v1", "rolebindings")

_CONFIGURATIONS_CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "configurations.dapr.io"},
    "spec": {
        "group": "dapr.io",
        "scope": "Namespaced",
        "names": {"kind": "Configuration", "plural": "configurations", "singular": "configuration"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            }
                        },
                    }
                },
            }
        ],
    },
}
# What the chart allows sentry.
_TOKEN_REVIEWS = [
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
]
_CALLERS = [
    {
        "apiGroups": ["dapr.io"],
        "resources": ["configurations"],
        "verbs": ["list", "get", "watch"],
    },
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "get", "watch"]},
]
_SENTRY_RULES = [
    {
        "apiGroups": [""],
        "resources": ["secrets"],
        "verbs": ["get", "update", "delete"],
        "resourceNames": ["dapr-trust-bundle"],
    },
    {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "verbs": ["get", "update", "watch", "list"],
        "resourceNames": ["dapr-trust-bundle"],
    },
]


class Cluster:
    """One API server as its administrator sees it. Names end differently in every test."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.client = KubeClient(kubeconfig_login(server.admin))

    async def install_crds(self) -> None:
        """Make Configurations known, and wait until they are served."""
        try:
            await self.client.get(CRDS, "configurations.dapr.io")
        except NotFoundError:
            await self.client.create(CRDS, _CONFIGURATIONS_CRD)
        async with asyncio.timeout(30):
            while True:
                try:
                    await self.client.get(CONFIGURATIONS, "none", "default")
                except NotFoundError as error:
                    if error.reason == "NotFound" and "none" in str(error).split(": ", 1)[1]:
                        return
                await asyncio.sleep(0.05)

    async def undefine(self, kind: Kind) -> None:
        """Delete a kind, and wait until it is gone with its objects and served to nobody."""
        name = f"{kind.plural}.{kind.group}"
        await self.client.delete(CRDS, name)
        async with asyncio.timeout(60):
            with contextlib.suppress(NotFoundError):
                while await self.client.get(CRDS, name):
                    await asyncio.sleep(0.05)
            with contextlib.suppress(NotFoundError):
                while await self.client.list_all(Selection(kind)):
                    await asyncio.sleep(0.05)

    async def namespace(self, prefix: str) -> str:
        """A new namespace."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        await self.client.create(NAMESPACES, {"metadata": {"name": name}})
        return name

    async def account(self, namespace: str, name: str) -> str:
        """A service account."""
        await self.client.create(ACCOUNTS, {"metadata": {"name": name}}, namespace)
        return name

    async def pod(
        self,
        namespace: str,
        name: str,
        account: str,
        annotations: Mapping[str, str] | None = None,
    ) -> KubeObject:
        """A pod that no node ever takes."""
        body = {
            "metadata": {"name": name, "annotations": dict(annotations or {})},
            "spec": {
                "serviceAccountName": account,
                "containers": [{"name": "app", "image": "none"}],
            },
        }
        return await self.client.create(PODS, body, namespace)

    async def delete_pod(self, namespace: str, name: str) -> None:
        """At once: there is no node that could confirm its end."""
        await self.client.delete(PODS, name, namespace)

    async def token(
        self, namespace: str, account: str, audiences: Sequence[str], pod: KubeObject | None = None
    ) -> str:
        """A real token of an account, bound to a pod as the kubelet asks for it."""
        spec: dict[str, Any] = {"audiences": list(audiences), "expirationSeconds": 600}
        if pod is not None:
            metadata = pod["metadata"]
            spec["boundObjectRef"] = {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": metadata["name"],
                "uid": metadata["uid"],
            }
        made = await self.client.create(
            ACCOUNTS,
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
            namespace,
            of=account,
            part="token",
        )
        return str(made["status"]["token"])

    async def configuration(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        """A Configuration."""
        body = {
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "Configuration",
            "metadata": {"name": name},
            "spec": dict(spec),
        }
        await self.client.create(CONFIGURATIONS, body, namespace)

    async def control_plane(self, *, namespaced: bool = False) -> str:
        """A namespace as the chart makes it for sentry: account, permissions, an empty bundle."""
        namespace = await self.namespace("dapr-system")
        await self.account(namespace, "dapr-sentry")
        await self._allow(namespace, namespaced)
        for kind in (SECRETS, CONFIG_MAPS):
            await self.client.create(kind, {"metadata": {"name": "dapr-trust-bundle"}}, namespace)
        return namespace

    async def bundle(self, namespace: str) -> tuple[dict[str, str], dict[str, str]]:
        """What Secret and ConfigMap hold."""
        secret = await self.client.get(SECRETS, "dapr-trust-bundle", namespace)
        config_map = await self.client.get(CONFIG_MAPS, "dapr-trust-bundle", namespace)
        encoded = secret.get("data") or {}
        return (
            {name: base64.b64decode(text).decode() for name, text in encoded.items()},
            config_map.get("data") or {},
        )

    async def _allow(self, namespace: str, namespaced: bool) -> None:
        cluster = _TOKEN_REVIEWS if namespaced else [*_TOKEN_REVIEWS, *_CALLERS]
        own = [*_SENTRY_RULES, *_CALLERS] if namespaced else _SENTRY_RULES
        subjects = [{"kind": "ServiceAccount", "name": "dapr-sentry", "namespace": namespace}]
        named = {"metadata": {"name": namespace}}
        group = "rbac.authorization.k8s.io"
        await self.client.create(CLUSTER_ROLES, {**named, "rules": cluster})
        role = {"apiGroup": group, "kind": "ClusterRole", "name": namespace}
        await self.client.create(
            CLUSTER_ROLE_BINDINGS, {**named, "roleRef": role, "subjects": subjects}
        )
        await self.client.create(ROLES, {**named, "rules": own}, namespace)
        role = {"apiGroup": group, "kind": "Role", "name": namespace}
        await self.client.create(
            ROLE_BINDINGS, {**named, "roleRef": role, "subjects": subjects}, namespace
        )
