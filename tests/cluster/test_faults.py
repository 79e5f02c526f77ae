"""Parts of the control plane go away while applications start and run."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cluster import machine
from cluster.addresses import PIDS
from cluster.applications import Space, component, has_sidecar
from cluster.kubectl import kubectl
from cluster.release import NAMESPACE, Release, rollout

Until = Callable[[Callable[[], bool], float, str], float]


def scale(name: str, replicas: int) -> None:
    kubectl("scale", f"deployment/{name}", f"--replicas={replicas}", "-n", NAMESPACE)
    if replicas:
        rollout(f"deployment/{name}")
    else:
        kubectl(
            *("wait", "pod", "-n", NAMESPACE, "-l", f"app={name}"),
            *("--for=delete", "--timeout=60s"),
            seconds=65,
        )


def test_pods_the_injector_missed_are_healed(space: Space, until: Until) -> None:
    scale("dapr-sidecar-injector", 0)
    try:
        space.app("app", replicas=2)
        assert not any(has_sidecar(pod) for pod in space.pods("app"))
    finally:
        scale("dapr-sidecar-injector", 1)

    def healed() -> bool:
        found = space.pods("app")
        return len(found) == 2 and all(has_sidecar(pod) for pod in found)

    seconds = until(healed, 60, "every pod has a sidecar")
    print(f"healed {seconds:.0f} s after the injector came back")


def test_a_sidecar_waits_for_sentry(space: Space, until: Until) -> None:
    scale("dapr-sentry", 0)
    try:
        space.app("app", wait=False)
        until(lambda: len(space.pods("app")) == 1, 30, "the pod is made")
    finally:
        scale("dapr-sentry", 1)
    rollout("deployment/app", space.name)


def test_changes_arrive_after_the_operator_was_replaced(space: Space) -> None:
    space.app("app")
    kubectl("rollout", "restart", "deployment/dapr-operator", "-n", NAMESPACE)
    rollout("deployment/dapr-operator")
    space.apply(component("late", "state.in-memory"))
    applied = time.time()
    used = space.await_status("app", "/v1.0/state/late/key", 204, 20)
    print(f"used {used - applied:.1f} s after kubectl apply")


@pytest.mark.skipif(not PIDS.exists(), reason="needs the local cluster: its programs can be ended")
def test_changes_arrive_after_the_api_server_was_killed(space: Space, until: Until) -> None:
    space.app("app")
    machine.kill("kube-apiserver")
    until(lambda: kubectl("get", "--raw=/readyz") == "ok", 60, "it is back")
    space.apply(component("late", "state.in-memory"))
    applied = time.time()
    used = space.await_status("app", "/v1.0/state/late/key", 204, 60)
    print(f"used {used - applied:.1f} s after kubectl apply")


def test_an_upgrade_under_load_loses_nothing(release: Release, space: Space) -> None:
    space.store()
    space.app("target")
    space.app("source")
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(space.load, "source", 25.0, "target")
        try:
            release.upgrade(global__logAsJson=True)
        finally:
            became = load.result(timeout=120)
            release.upgrade()
    print(became)
    assert became["failed"] == 0, became
    assert became["lost"] == []
    assert became["saved"] > 100
