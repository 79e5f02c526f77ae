"""Which parts of the control plane are ready, and what keeps the others from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from dapr_cli.console import Console
from dapr_cli.kube.kinds import DEPLOYMENTS, STATEFUL_SETS
from dapr_common.kube.api_errors import KubeError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import PODS, KubeObject, Selection

_LABELS = "app.kubernetes.io/part-of=dapr"
_LOOK_SECONDS = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment or StatefulSet and how far it is."""

    name: str
    wanted: int
    ready: int
    is_current: bool
    """Whether the cluster has begun with what was asked last."""

    @property
    def is_ready(self) -> bool:
        return self.is_current and self.ready >= self.wanted

    def __str__(self) -> str:
        return f"{self.name}: {self.ready} of {self.wanted} ready"


async def workloads(client: KubeClient, namespace: str) -> list[Workload]:
    """Those of the control plane, in the order of their names."""
    found = []
    for kind in (DEPLOYMENTS, STATEFUL_SETS):
        listing = await client.list_all(Selection(kind, namespace, labels=_LABELS))
        found += [workload(body) for body in listing.items]
    return sorted(found, key=lambda one: one.name)


def workload(body: KubeObject) -> Workload:
    """What an object says of itself."""
    spec, status = body["spec"], body.get("status") or {}
    wanted = int(spec.get("replicas", 1))
    seen = int(status.get("observedGeneration") or 0) >= int(body["metadata"]["generation"])
    updated = int(status.get("updatedReplicas") or 0) >= wanted
    ready = int(status.get("readyReplicas") or 0)
    return Workload(body["metadata"]["name"], wanted, ready, seen and updated)


async def showing_progress(
    work: Awaitable[T], client: KubeClient, namespace: str, console: Console
) -> T:
    """Do the work, and meanwhile say of each part when it gets ready."""
    progress = _Progress(client, namespace, console)
    watching = asyncio.ensure_future(progress.run())
    try:
        result = await work
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    await progress.look()  # what got ready at the last moment
    return result


class _Progress:
    """Says what has changed since it last looked."""

    def __init__(self, client: KubeClient, namespace: str, console: Console) -> None:
        self._client = client
        self._namespace = namespace
        self._console = console
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        with suppress(KubeError):  # whoever does the work will say it
            for one in await workloads(self._client, self._namespace):
                if one.wanted and self._said.get(one.name) != str(one):
                    self._said[one.name] = str(one)
                    (self._console.success if one.is_ready else self._console.pending)(str(one))


async def what_is_missing(client: KubeClient, namespace: str) -> str:
    """One line for each part that is not ready, with the reasons its pods give."""
    try:
        late = [one for one in await workloads(client, namespace) if not one.is_ready]
        pods = (await client.list_all(Selection(PODS, namespace))).items if late else ()
    except KubeError as error:
        return f"and the cluster cannot be asked why: {error}"
    return "\n".join(f"{one}: {reason(one.name, pods)}" for one in late)


def reason(app: str, pods: Iterable[KubeObject]) -> str:
    """What keeps the pods of a part from being ready, in words."""
    own = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get("app") == app]
    if not own:
        return "it has no pods yet"
    reasons = dict.fromkeys(filter(None, map(pod_reason, own)))
    return "; ".join(reasons) or "its pods have not passed their checks yet"


def pod_reason(pod: KubeObject) -> str:
    """What keeps a pod from being ready; empty when it says nothing."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        if waiting := state.get("waiting"):
            return ": ".join(filter(None, (waiting.get("reason"), waiting.get("message"))))
        if (ended := state.get("terminated")) and ended.get("exitCode"):
            return f"{container['name']} ended with exit code {ended['exitCode']}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message") or condition.get("reason") or "not scheduled")
    return ""
