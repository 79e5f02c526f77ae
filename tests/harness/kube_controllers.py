"""Kubernetes' own controllers beside an API server, and a stand-in for the nodes.

Deployments, StatefulSets and Jobs make real pods. Nothing runs in them: the stand-in says of each
that it is ready, and of a Job's that it has succeeded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from cluster.programs import path
from harness.apiserver import ApiServer
from harness.programs import Program, accepts_connections, free_port

from dapr_common.kube.api_errors import KubeError
from dapr_common.kube.client import KubeClient, WatchEvent
from dapr_common.kube.informer import list_and_watch
from dapr_common.kube.kinds import PODS, KubeObject, Selection

_CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "job-controller",
    "garbage-collector-controller",
    "namespace-controller",
)


class ControllerManager(Program):
    """``kube-controller-manager`` with what workloads need."""

    def __init__(self, server: ApiServer) -> None:
        self._port = free_port()
        super().__init__(
            [
                str(path("kube-controller-manager")),
                f"--kubeconfig={server.admin}",
                f"--controllers={','.join(_CONTROLLERS)}",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                f"--secure-port={self._port}",
                f"--cert-dir={server.folder / 'controllers'}",
            ],
            exit_code=None,
        )

    def is_ready(self) -> bool:
        return accepts_connections(self._port)


@asynccontextmanager
async def stand_in_nodes(client: KubeClient, without: str = "") -> AsyncIterator[None]:
    """Every pod becomes ready, as if nodes ran it; ``without`` is part of an image that is not."""
    running = asyncio.ensure_future(_run(client, without))
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait({running})


async def _run(client: KubeClient, without: str) -> None:
    async with aclosing(list_and_watch(client, Selection(PODS))) as events:
        async for event in events:
            if isinstance(event, WatchEvent):
                pods = (event.object,) if event.kind in ("ADDED", "MODIFIED") else ()
            else:
                pods = event
            for pod in pods:
                await _say(client, pod, _status(pod, without))


async def _say(client: KubeClient, pod: KubeObject, status: dict[str, Any]) -> None:
    metadata = pod["metadata"]
    if metadata.get("deletionTimestamp"):
        return
    if pod["status"].get("phase") == status["phase"]:
        return
    with suppress(KubeError):  # it is gone by now
        await client.patch(
            PODS, metadata["name"], {"status": status}, metadata["namespace"], part="status"
        )


def _status(pod: KubeObject, without: str) -> dict[str, Any]:
    container = pod["spec"]["containers"][0]
    found = {"name": container["name"], "image": container["image"], "imageID": "x"}
    found["restartCount"] = 0
    if "job-name" in pod["metadata"].get("labels", {}):
        ended = {"exitCode": 0, "startedAt": _NOW, "finishedAt": _NOW}
        state = {**found, "ready": False, "state": {"terminated": ended}}
        return {"phase": "Succeeded", "containerStatuses": [state]}
    if without and without in container["image"]:
        waiting = {"reason": "ImagePullBackOff", "message": f"no {container['image']} there"}
        state = {**found, "ready": False, "state": {"waiting": waiting}}
        return {"phase": "Running", "containerStatuses": [state]}
    state = {**found, "ready": True, "state": {"running": {"startedAt": _NOW}}}
    conditions = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady")]
    return {"phase": "Running", "conditions": conditions, "containerStatuses": [state]}


_NOW = "2026-01-01T00:00:00Z"
