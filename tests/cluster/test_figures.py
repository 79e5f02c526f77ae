"""How fast it is, as the original was measured: one node, one thing at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cluster.applications import Space, component, deployment
from cluster.figures import Figures, quantile
from cluster.kubectl import kubeconfig
from cluster.release import rollout

from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import COMPONENTS, Kind
from dapr_common.kube.login import kubeconfig_login

_DEPLOYMENTS = Kind("apps", "v1", "deployments")
_SERVICES = Kind("", "v1", "services")
_CHANGES = 100
_CALLS = 1000
_PODS = 17


@pytest.fixture
async def client(space: Space) -> AsyncIterator[KubeClient]:
    """The API server, without the time that starting kubectl takes."""
    async with KubeClient(kubeconfig_login(kubeconfig())) as found:
        yield found


@pytest.mark.slow
async def test_a_changed_component_is_used(
    space: Space, client: KubeClient, figures: Figures
) -> None:
    space.store()
    for name in ("one", "two"):
        space.apply(component(name, "state.redis", redisHost="redis:6379", keyPrefix=name))
    space.apply(changing("one"))
    space.app("app")
    for name in ("one", "two"):
        saved = [{"key": "key", "value": name}]
        assert space.call("app", "POST", f"/v1.0/state/{name}", saved)[0] == 204
    took: list[float] = []
    with space.watch("app", "/v1.0/state/changing/key") as watch:
        await asyncio.to_thread(watch.until, 200, '"one"')
        for number in range(_CHANGES):
            name = ("two", "one")[number % 2]
            await client.patch(COMPONENTS, "changing", changing(name), space.name)
            stored = time.time()
            used = await asyncio.to_thread(watch.until, 200, f'"{name}"')
            took.append(1000 * (used - stored))
    figures.add("component changed to used, p50 ms", quantile(took, 0.5))
    figures.add("component changed to used, p99 ms", quantile(took, 0.99))
    assert quantile(took, 0.5) < 1000  # the slowest tell of the machine's other work


async def test_a_service_is_made(space: Space, client: KubeClient, figures: Figures) -> None:
    took = [await until_service(client, space, f"app-{number}") for number in range(5)]
    figures.add("-dapr Service made, s", max(took))
    assert quantile(took, 0.5) < 2


def test_invocations_between_deployments(space: Space, figures: Figures) -> None:
    space.app("target")
    space.app("source")
    path = "/v1.0/invoke/target/method/echo"
    space.measure("source", _CALLS // 10, "POST", path, "{}")  # connections are made
    took = space.measure("source", _CALLS, "POST", path, "{}")
    figures.add("invocation with mTLS, p50 ms", 1000 * quantile(took, 0.5))
    figures.add("invocation with mTLS, p99 ms", 1000 * quantile(took, 0.99))


def test_many_pods_get_ready(space: Space, figures: Figures) -> None:
    began = time.monotonic()
    space.apply(deployment("app", _PODS, {}))
    rollout("deployment/app", space.name, 180)
    figures.add("17 annotated pods ready, s", time.monotonic() - began)


def changing(prefix: str) -> dict[str, Any]:
    return component("changing", "state.redis", redisHost="redis:6379", keyPrefix=prefix)


async def until_service(client: KubeClient, space: Space, app_id: str) -> float:
    """How long after its Deployment it was there, in seconds."""
    await client.create(_DEPLOYMENTS, deployment(app_id, 1, {}), space.name)
    began = time.monotonic()
    async with asyncio.timeout(30):
        while True:
            try:
                await client.get(_SERVICES, f"{app_id}-dapr", space.name)
                return time.monotonic() - began
            except NotFoundError:
                await asyncio.sleep(0.005)
