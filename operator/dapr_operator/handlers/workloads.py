"""Deployments, StatefulSets and Rollouts: kopf tells of each, and the Service reconciler acts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import kopf

from dapr_common.kube.kinds import Kind
from dapr_operator.workload import Workload, WorkloadKey


@dataclass(frozen=True, slots=True)
class Told:
    """Where handlers tell of workloads."""

    saw: Callable[[Workload], None]
    lost: Callable[[WorkloadKey], None]


def register(registry: kopf.OperatorRegistry, kinds: Iterable[Kind], told: Told) -> None:
    """Handlers for every event of these kinds.

    Event handlers leave nothing in the objects: no finalizer, no annotation of kopf's, and no
    permission to write workloads is needed.
    """
    for kind in kinds:
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(
            _handler(kind, told)
        )


def _handler(kind: Kind, told: Told) -> Callable[..., Any]:
    async def workload_changed(*, event: kopf.RawEvent, body: kopf.Body, **_: Any) -> None:
        workload = Workload.of(kind, body)
        if event["type"] == "DELETED":
            told.lost(workload.key)
        else:
            told.saw(workload)

    return workload_changed
