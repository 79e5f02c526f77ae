"""Kinds of Kubernetes objects and where the API has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dapr_common.kube.api_errors import KubeError

KubeObject = dict[str, Any]
"""An object as the API writes it, JSON already parsed."""

_BAD_NAMES = frozenset({"", ".", ".."})


class BadNameError(KubeError):
    """A text cannot be the name of an object or a namespace."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind; ``group`` is empty for the core API, ``plural`` is its word in paths."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    def collection(self, namespace: str = "") -> str:
        """The path of all objects, of one namespace when given. Raises ``BadNameError``."""
        root = f"/apis/{self.group}" if self.group else "/api"
        scope = f"/namespaces/{_segment(namespace)}" if self.namespaced and namespace else ""
        return f"{root}/{self.version}{scope}/{self.plural}"

    def object(self, name: str, namespace: str = "", subresource: str = "") -> str:
        """The path of one object, or of a part of it. Raises ``BadNameError``."""
        if self.namespaced and not namespace:
            raise BadNameError(f"one of {self.plural} is in a namespace, none is given")
        end = f"/{subresource}" if subresource else ""
        return f"{self.collection(namespace)}/{_segment(name)}{end}"


@dataclass(frozen=True, slots=True)
class Selection:
    """The objects of a kind that are listed or watched; an empty namespace means every one."""

    kind: Kind
    namespace: str = ""
    fields: str = ""
    labels: str = ""

    def __str__(self) -> str:
        """How messages name it, such as ``pods`` or ``secrets in dapr-system``."""
        where = f" in {self.namespace}" if self.namespace else ""
        narrowed = ", ".join(text for text in (self.fields, self.labels) if text)
        return f"{self.kind.plural}{where}{f' ({narrowed})' if narrowed else ''}"


def _segment(name: str) -> str:
    """A name that stays one segment of a path: some come from annotations anybody may write."""
    if name in _BAD_NAMES or not name.isascii() or not name.isprintable():
        raise BadNameError(f"invalid name of a Kubernetes object: '{name}'")
    if any(character in name for character in "/%?# "):
        raise BadNameError(f"invalid name of a Kubernetes object: '{name}'")
    return name


PODS = Kind("", "v1", "pods")
SECRETS = Kind("", "v1", "secrets")
CONFIG_MAPS = Kind("", "v1", "configmaps")
CONFIGURATIONS = Kind("dapr.io", "v1alpha1", "configurations")
TOKEN_REVIEWS = Kind("authentication.k8s.io", "v1", "tokenreviews", namespaced=False)
COMPONENTS = Kind("dapr.io", "v1alpha1", "components")
SERVICE_ACCOUNTS = Kind("", "v1", "serviceaccounts")
EVENTS = Kind("", "v1", "events")
LEASES = Kind("coordination.k8s.io", "v1", "leases")
CRDS = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
MUTATING_WEBHOOKS = Kind(
    "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", namespaced=False
)
VALIDATING_WEBHOOKS = Kind(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", namespaced=False
)
