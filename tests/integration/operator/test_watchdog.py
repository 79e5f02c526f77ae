"""Pods left without a sidecar: healed when that is safe. No node is there: pods never run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from harness.operator_process import Operator

from dapr_common.kube.api_errors import NotFoundError
from dapr_common.kube.kinds import PODS, KubeObject
from dapr_operator.kinds import DEPLOYMENTS

SYSTEM = "dapr-system"
NAME = "dapr-sidecar-injector"


@pytest.fixture
async def injector(place: Any) -> AsyncIterator[Any]:
    """Sets how many injectors are ready."""
    client, labels = place.cluster.client, {"app": NAME}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "a", "image": "none"}]},
    }
    spec = {"selector": {"matchLabels": labels}, "template": template}
    body = {"metadata": {"name": NAME, "labels": labels}, "spec": spec}
    await client.create(DEPLOYMENTS, body, SYSTEM)

    async def ready(replicas: int) -> None:
        status = {"replicas": 1, "readyReplicas": replicas}
        await client.patch(DEPLOYMENTS, NAME, {"status": status}, SYSTEM, part="status")

    yield ready
    await client.delete(DEPLOYMENTS, NAME, SYSTEM)


def healing(place: Any, *flags: str) -> Operator:
    """An operator that looks at this test's pods only."""
    operator: Operator = place.operator(f"--watch-namespace={place.apps}", *flags)
    return operator


async def pod(
    place: Any,
    name: str,
    *,
    owner: str = "replicas",
    containers: tuple[str, ...] = ("app",),
    init: tuple[str, ...] = (),
    labels: dict[str, str] | None = None,
    enabled: str = "true",
) -> KubeObject:
    reference = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": owner,
        "uid": f"uid-{owner}",
        "controller": True,
    }
    body = {
        "metadata": {
            "name": name,
            "labels": labels or {},
            "annotations": {"dapr.io/enabled": enabled},
            "ownerReferences": [reference] if owner else [],
        },
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{"name": one, "image": "none"} for one in containers],
            "initContainers": [{"name": one, "image": "none"} for one in init],
        },
    }
    made: KubeObject = await place.cluster.client.create(PODS, body, place.apps)
    return made


async def gone(place: Any, name: str, seconds: float = 40.0) -> None:
    async with asyncio.timeout(seconds):
        while await there(place, name):
            await asyncio.sleep(0.02)


async def there(place: Any, name: str) -> bool:
    try:
        await place.cluster.client.get(PODS, name, place.apps)
    except NotFoundError:
        return False
    return True


@pytest.fixture(autouse=True)
async def account(place: Any) -> None:
    await place.cluster.account(place.apps, "default")


async def test_missed_pods_are_healed_and_no_others(place: Any, injector: Any) -> None:
    await pod(place, "has-one", containers=("app", "daprd"))
    await pod(place, "has-a-native-one", init=("daprd",))
    await pod(place, "injected", labels={"dapr.io/sidecar-injected": "true"})
    await pod(place, "wants-none", enabled="false")
    await pod(place, "gets-none", enabled="yes")
    await pod(place, "nobody-makes-it-anew", owner="")
    await pod(place, "missed")
    await injector(1)
    async with healing(place, "--watch-interval=1s", "--max-pod-restarts-per-minute=0") as operator:
        await gone(place, "missed")
        await place.event("SidecarMissing", "its controller makes a new one")
        await place.event("SidecarMissing", "it has no controller that would make it anew")
        await operator.counted("dapr_operator_watchdog_pods_deleted_total", 1)
        for name in ("has-one", "has-a-native-one", "injected", "wants-none", "gets-none"):
            assert await there(place, name), name
        assert await there(place, "nobody-makes-it-anew")


async def test_it_is_on_by_default_and_waits_for_an_injector(place: Any, injector: Any) -> None:
    await injector(0)
    await pod(place, "missed")
    async with healing(place) as operator:
        await asyncio.to_thread(operator.wait_line, "left alone until an injector is ready")
        assert await there(place, "missed")
        await injector(1)
        await gone(place, "missed")


async def test_it_can_be_turned_off(place: Any, injector: Any) -> None:
    await injector(1)
    await pod(place, "missed")
    async with healing(place, "--watch-interval=0") as operator:
        await asyncio.to_thread(operator.wait_line, "This operator leads")
        await place.component("marker")
    assert await there(place, "missed")
    assert "SidecarMissing" not in operator.log
    assert "wants a sidecar" not in operator.log


async def test_pods_that_come_back_without_one_are_left_alone(place: Any, injector: Any) -> None:
    await injector(1)
    await pod(place, "first")
    async with healing(place, "--watch-interval=1s", "--max-pod-restarts-per-minute=0") as operator:
        await gone(place, "first")
        await pod(place, "second")
        await pod(place, "other", owner="other")
        await gone(place, "other")
        assert await there(place, "second"), "its controller's pods were healed a moment ago"
        await operator.counted("dapr_operator_watchdog_pods_deleted_total", 2)


async def test_deletions_are_spread(place: Any, injector: Any) -> None:
    await injector(1)
    for number in range(3):
        await pod(place, f"missed-{number}")
    flags = ("--watch-interval=once", "--max-pod-restarts-per-minute=60")
    async with healing(place, *flags) as operator:
        lines = await asyncio.to_thread(operator.wait_lines, "it was deleted", 3)
    moments = [datetime.fromisoformat(line.split('"')[1]) for line in lines]
    assert moments[2] - moments[0] > timedelta(seconds=1.9), "a second between two of them"


async def test_labels_when_they_are_allowed(place: Any, injector: Any) -> None:
    await injector(1)
    await pod(place, "by-hand", containers=("app", "daprd"))
    async with (
        healing(place, "--watch-interval=1s", "--watchdog-can-patch-pod-labels"),
        asyncio.timeout(40),
    ):
        while True:
            found = await place.cluster.client.get(PODS, "by-hand", place.apps)
            if (found["metadata"].get("labels") or {}).get("dapr.io/watchdog-patched") == "true":
                break
            await asyncio.sleep(0.05)


async def crash(place: Any, name: str, message: str) -> None:
    """As the kubelet tells of a sidecar that ends again and again."""
    last = {"exitCode": 1, "reason": "Error", "message": message}
    container = {
        "name": "daprd",
        "image": "none",
        "imageID": "",
        "ready": False,
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": last},
    }
    status = {"status": {"containerStatuses": [container]}}
    await place.cluster.client.patch(PODS, name, status, place.apps, part="status")


async def test_a_crash_looping_sidecar_is_told_with_its_cause(place: Any) -> None:
    """One that did so before there was an operator, and one that begins to."""
    for name in ("before", "later"):
        labels = {"dapr.io/sidecar-injected": "true"}
        await pod(place, name, containers=("app", "daprd"), labels=labels)
    await crash(place, "before", "Fatal error: no such component\n")
    async with healing(place):
        found = await place.event("SidecarCrashLooping", "Fatal error: no such component")
        assert found["type"] == "Warning"
        await crash(place, "later", "Fatal error: no such port\n")
        found = await place.event("SidecarCrashLooping", "Fatal error: no such port")
        assert found["type"] == "Warning"
