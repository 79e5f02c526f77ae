"""Stands in for controllers, injector and nodes: a pod for every Deployment of ``dapr run -k``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from dapr_cli.kube.kinds import DEPLOYMENTS
from dapr_common.kube.api_errors import KubeError, NotFoundError
from dapr_common.kube.client import KubeClient, WatchEvent
from dapr_common.kube.informer import list_and_watch
from dapr_common.kube.kinds import PODS, KubeObject, Selection

_NAMESPACE = "default"
_LABELS = "app.kubernetes.io/managed-by=dapr-run"
_SINCE = "2026-01-01T00:00:00Z"


@asynccontextmanager
async def pods_of_runs(
    client: KubeClient,
    late: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    injected: bool = True,
) -> AsyncIterator[None]:
    """Pods come and go with their Deployments; ``late``: by app id, the state that keeps one.

    Unless they are ``injected`` they have no sidecars.
    """
    sidecars = [{"name": "daprd", "image": "x"}] if injected else []
    running = asyncio.ensure_future(_run(client, late or {}, sidecars))
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait({running})


async def status(client: KubeClient, app_id: str, *, ready: bool = True, **state: Any) -> None:
    """Say of an app's pod how its container is."""
    container = {
        "name": app_id,
        "image": "x",
        "imageID": "x",
        "restartCount": 0,
        "ready": ready,
        "state": {"running": {"startedAt": _SINCE}},
        **state,
    }
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    found = {"phase": "Running", "conditions": conditions, "containerStatuses": [container]}
    await client.patch(PODS, app_id, {"status": found}, _NAMESPACE, part="status")


async def _run(
    client: KubeClient, late: Mapping[str, Mapping[str, Any]], sidecars: list[KubeObject]
) -> None:
    async with aclosing(
        list_and_watch(client, Selection(DEPLOYMENTS, _NAMESPACE, labels=_LABELS))
    ) as events:
        async for event in events:
            if not isinstance(event, WatchEvent):
                for body in event:
                    await _make(client, body, late, sidecars)
            elif event.kind == "ADDED":
                await _make(client, event.object, late, sidecars)
            elif event.kind == "DELETED":
                with suppress(NotFoundError):
                    await client.delete(PODS, event.object["metadata"]["name"], _NAMESPACE)


async def _make(
    client: KubeClient,
    body: KubeObject,
    late: Mapping[str, Mapping[str, Any]],
    sidecars: list[KubeObject],
) -> None:
    app_id = body["metadata"]["name"]
    template = body["spec"]["template"]
    containers = [*template["spec"]["containers"], *sidecars]
    pod = {
        "metadata": {**template["metadata"], "name": app_id},
        "spec": {"containers": containers, "serviceAccountName": "default"},
    }
    with suppress(KubeError):  # the Deployment may be gone already, and its pod with it
        await client.create(PODS, pod, _NAMESPACE)
        why = late.get(app_id)
        await status(client, app_id, ready=why is None, **({"state": why} if why else {}))
