"""A kind of custom resource: its names, its versions, and what ``kubectl get`` shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dapr_common.kube.schema.fields import Field

GROUP = "dapr.io"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``; ``is_wide`` ones are shown with ``-o wide`` only."""

    name: str
    path: str
    description: str
    type: str = "string"
    is_wide: bool = False


AGE = Column("Age", ".metadata.creationTimestamp", "Time since it was made.", type="date")
SCOPES = Column("Scopes", ".scopes", "Apps it is for; all when empty.", is_wide=True)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a kind. Every one is served; one of them is what the cluster keeps."""

    name: str
    description: str
    fields: Mapping[str, Field]
    columns: tuple[Column, ...]
    is_stored: bool = True

    @property
    def has_status(self) -> bool:
        """Whether the control plane writes into a status that manifests do not touch."""
        return "status" in self.fields


@dataclass(frozen=True, slots=True)
class CustomResource:
    """One kind."""

    kind: str
    plural: str
    versions: tuple[Version, ...]
    conversion: Mapping[str, Any] = field(default_factory=lambda: {"strategy": "None"})

    @property
    def name(self) -> str:
        """The name of the definition in a cluster."""
        return f"{self.plural}.{GROUP}"
