"""A Deployment, StatefulSet or Rollout: the few words of it that its Service is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dapr_common.kube.kinds import Kind, KubeObject
from dapr_operator.annotations import ENABLED, is_truthy
from dapr_operator.kinds import DEPLOYMENTS, ROLLOUTS, STATEFUL_SETS

_WORDS = {DEPLOYMENTS: "Deployment", STATEFUL_SETS: "StatefulSet", ROLLOUTS: "Rollout"}
_BY_WORD = {word: kind for kind, word in _WORDS.items()}


@dataclass(frozen=True, slots=True)
class WorkloadKey:
    """One workload of the cluster."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{_WORDS[self.kind]} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Workload:
    """``annotations`` are those of its pods."""

    key: WorkloadKey
    uid: str
    annotations: Mapping[str, str]
    selector: Mapping[str, str]
    is_ending: bool = False

    @classmethod
    def of(cls, kind: Kind, body: Mapping[str, Any] | KubeObject) -> Workload:
        """As the API has it."""
        metadata, spec = body["metadata"], body.get("spec") or {}
        template = (spec.get("template") or {}).get("metadata") or {}
        return cls(
            key=WorkloadKey(kind, str(metadata.get("namespace") or ""), str(metadata["name"])),
            uid=str(metadata.get("uid") or ""),
            annotations=dict(template.get("annotations") or {}),
            selector=dict((spec.get("selector") or {}).get("matchLabels") or {}),
            is_ending=bool(metadata.get("deletionTimestamp")),
        )

    @property
    def wants_service(self) -> bool:
        """Whether its pods get sidecars."""
        return not self.is_ending and is_truthy(self.annotations.get(ENABLED))

    @property
    def reference(self) -> dict[str, Any]:
        """It as the owner of what is made for it: gone when it is gone."""
        kind = self.key.kind
        return {
            "apiVersion": f"{kind.group}/{kind.version}",
            "kind": _WORDS[kind],
            "name": self.key.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def owner_key(service: KubeObject) -> tuple[WorkloadKey, str] | None:
    """The workload that a Service belongs to, and its uid."""
    metadata = service["metadata"]
    for owner in metadata.get("ownerReferences") or ():
        kind = _BY_WORD.get(str(owner.get("kind")))
        if owner.get("controller") and kind is not None:
            key = WorkloadKey(kind, str(metadata["namespace"]), str(owner["name"]))
            return key, str(owner["uid"])
    return None
