"""A pod as the API server sends it for admission: the parts that decide about its sidecar."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dapr_common.kube.kinds import KubeObject

SIDECAR = "daprd"
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
LONGEST_LABEL = 63


class InjectionError(ValueError):
    """A pod cannot get its sidecar; the text is what the pod's creator reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What is read of a pod. Nothing of it is ever changed: a patch describes the change."""

    name: str
    """Empty while only ``generateName`` is given."""
    annotations: Mapping[str, str]
    labels: Mapping[str, str]
    containers: Sequence[KubeObject]
    init_containers: Sequence[KubeObject]
    volumes: Sequence[KubeObject]
    tolerations: Sequence[KubeObject]

    @classmethod
    def read(cls, body: object) -> Pod:
        """The pod of an admission request. Raises ``InjectionError``."""
        pod = _as_object(body, "the pod")
        metadata = _as_object(pod.get("metadata"), "metadata")
        spec = _as_object(pod.get("spec"), "spec")
        return cls(
            name=str(metadata.get("name") or ""),
            annotations=_texts(metadata, "annotations"),
            labels=_texts(metadata, "labels"),
            containers=objects(spec, "containers"),
            init_containers=objects(spec, "initContainers"),
            volumes=objects(spec, "volumes"),
            tolerations=objects(spec, "tolerations"),
        )

    @property
    def has_sidecar(self) -> bool:
        """Whether a container of that name is there, whoever added it."""
        return any(name_of(one) == SIDECAR for one in (*self.containers, *self.init_containers))


def objects(parent: KubeObject, key: str) -> list[KubeObject]:
    """A list of objects, empty when it is missing. Raises ``InjectionError``."""
    value = parent.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InjectionError(f"{key} is malformed: expected a list of objects")
    return value


def name_of(item: KubeObject) -> str:
    """The name of a container, volume, variable or mount."""
    return str(item.get("name") or "")


def is_label(text: str) -> bool:
    """Whether a text can name a container or a volume (an RFC 1123 label)."""
    return len(text) <= LONGEST_LABEL and _LABEL.fullmatch(text) is not None


def app_id_problems(service: str) -> list[str]:
    """What keeps a text from being the name of an app's Service, in Kubernetes' words."""
    problems = []
    if len(service) > LONGEST_LABEL:
        problems.append(f"must be no more than {LONGEST_LABEL} characters")
    if _LABEL.fullmatch(service) is None:
        problems.append(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or "
            "'-', and must start and end with an alphanumeric character (e.g. 'my-name',  or "
            "'123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        )
    return problems


def _as_object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InjectionError(f"{what} is missing or malformed: expected an object")
    return value


def _texts(metadata: KubeObject, key: str) -> dict[str, str]:
    value = _as_object(metadata.get(key) or {}, f"metadata.{key}")
    if not all(isinstance(text, str) for text in value.values()):
        raise InjectionError(f"metadata.{key} is malformed: expected texts")
    return value
