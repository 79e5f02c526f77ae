"""One object of Dapr's kinds as the operator keeps it and sidecars get it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from dapr_common.kube.events import Subject
from dapr_common.kube.informer import Key
from dapr_common.kube.kinds import KubeObject
from dapr_operator.kinds import DaprKind
from dapr_operator.secret_values import secret_names

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_LEFT_OUT = ("managedFields", "resourceVersion", "generation")


@dataclass(frozen=True)
class Resource:
    """Two are equal when they mean the same: what the control plane itself writes does not count.

    A status written by the operator is such a change, and no sidecar shall load anything anew for
    it. Field managers and the text ``kubectl apply`` keeps are left out: they are large, and
    nobody but ``kubectl`` reads them.
    """

    namespace: str
    name: str
    scopes: tuple[str, ...]
    body: KubeObject
    """Without status and resource version."""
    version: str = field(compare=False)
    generation: int = field(compare=False)
    status: KubeObject = field(compare=False)
    secrets: frozenset[str] = field(compare=False)
    """The Kubernetes secrets it takes values from."""

    @classmethod
    def of(cls, kind: DaprKind, body: KubeObject) -> Resource:
        """Raises ``ValueError`` when the object is none that a sidecar could read."""
        metadata: dict[str, Any] = dict(body["metadata"])
        scopes = body.get("scopes") or ()
        if not isinstance(scopes, list | tuple):
            raise ValueError("scopes is no list")
        kept = {name: value for name, value in metadata.items() if name not in _LEFT_OUT}
        if annotations := kept.get("annotations"):
            kept["annotations"] = {
                name: text for name, text in annotations.items() if name != _LAST_APPLIED
            }
        rest = {name: value for name, value in body.items() if name != "status"}
        return cls(
            namespace=str(metadata.get("namespace") or ""),
            name=str(metadata["name"]),
            scopes=tuple(map(str, scopes)),
            body={**rest, "metadata": kept},
            version=str(metadata.get("resourceVersion") or ""),
            generation=int(metadata.get("generation") or 0),
            status=dict(body.get("status") or {}),
            secrets=secret_names(kind, body),
        )

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def uid(self) -> str:
        """Tells it from others that had its name."""
        return str(self.body["metadata"].get("uid") or "")

    def subject(self, kind: DaprKind) -> Subject:
        """What an event about it is about; its kind is not always said by the object itself."""
        return Subject(kind.api_version, kind.word, self.name, self.namespace, self.uid)

    def is_for(self, app_id: str) -> bool:
        """Whether its scopes let an app have it."""
        return not self.scopes or app_id in self.scopes

    @cached_property
    def json(self) -> bytes:
        """As sidecars get it; made once, for everybody."""
        return self.json_of(self.body)

    def json_of(self, body: KubeObject) -> bytes:
        """The same, of its body with secrets put in."""
        metadata = {
            **body["metadata"],
            "resourceVersion": self.version,
            "generation": self.generation,
        }
        return orjson.dumps({**body, "metadata": metadata})
