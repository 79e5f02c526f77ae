"""Parts of the control plane, the API server and sidecars go away while applications run."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from cluster import faults, machine
from cluster.addresses import PIDS
from cluster.applications import Space, component, has_sidecar
from cluster.figures import Figures
from cluster.kubectl import CommandError, kubectl
from cluster.load import under_load
from cluster.release import NAMESPACE, Release, only_pod, rollout
from cluster.waiting import Until

local = pytest.mark.skipif(not PIDS.exists(), reason="ends programs of a local node")


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


def kill_api_server(until: Until) -> None:
    machine.kill("kube-apiserver")
    until(lambda: kubectl("get", "--raw=/readyz") == "ok", 60, "it is back")


@pytest.fixture
def talkative(release: Release) -> Iterator[None]:
    """The operator says what it does."""
    release.upgrade(dapr_operator__logLevel="debug")
    yield
    release.upgrade()


def test_pods_the_injector_missed_are_healed(space: Space, until: Until, figures: Figures) -> None:
    space.app("app")
    scale("dapr-sidecar-injector", 0)
    try:
        kubectl("scale", "deployment/app", "--replicas=3", "-n", space.name)
        rollout("deployment/app", space.name)
        assert sum(map(has_sidecar, space.pods("app"))) == 1
    finally:
        scale("dapr-sidecar-injector", 1)

    def healed() -> bool:
        found = space.pods("app")
        return len(found) == 3 and all(map(has_sidecar, found))

    figures.add("missed pod healed, s", until(healed, 60, "every pod has a sidecar"))
    rollout("deployment/app", space.name)


def test_a_sidecar_waits_for_sentry(space: Space, until: Until) -> None:
    scale("dapr-sentry", 0)
    try:
        space.app("app", wait=False)
        until(lambda: "sentry" in space.log("app"), 60, "the sidecar looks for sentry")
    finally:
        scale("dapr-sentry", 1)
    rollout("deployment/app", space.name)
    (pod,) = space.pods("app")
    assert all(status["restartCount"] == 0 for status in pod["status"]["containerStatuses"])


def test_changes_arrive_after_the_operator_was_replaced(space: Space, figures: Figures) -> None:
    space.app("app")
    with space.watch("app", "/v1.0/state/late/key") as watch:
        watch.until(500)
        kubectl("rollout", "restart", "deployment/dapr-operator", "-n", NAMESPACE)
        rollout("deployment/dapr-operator")
        space.apply(component("late", "state.in-memory"))
        applied = time.time()
        took = max(watch.until(204) - applied, 0.0)  # it may be used before kubectl is back
    figures.add("component after operator replaced, s", took)
    assert took < 20.0  # not only when everything is listed again, which is in a minute


@local
def test_changes_arrive_after_the_operator_was_killed(space: Space, until: Until) -> None:
    """In the middle of its streams; what is applied meanwhile arrives as well."""
    space.app("app")
    operator = only_pod("dapr-operator")
    with space.watch("app", "/v1.0/state/late/key") as watch:
        watch.until(500)
        faults.kill_container(operator, "dapr-operator")
        space.apply(component("late", "state.in-memory"))
        applied = time.time()
        print(f"used {watch.until(204) - applied:.1f} s after kubectl apply")

    def again() -> bool:
        (status,) = only_pod("dapr-operator")["status"]["containerStatuses"]
        return bool(status["ready"]) and status["restartCount"] > 0

    until(again, 60, "the operator is ready again")


@local
def test_requests_go_on_while_the_api_server_is_killed(space: Space, until: Until) -> None:
    space.pair()
    with (
        under_load(space, "source", "target", beside=True) as load,
        space.watch("target", "/v1.0/state/late/key", beside=True) as watch,
    ):
        watch.until(400)  # there are other stores
        kill_api_server(until)
        apply_again(space, component("late", "state.in-memory"), until)
        applied = time.time()
        print(f"used {watch.until(204) - applied:.1f} s after kubectl apply")
    load.assert_nothing_failed(until)


@local
def test_what_changed_while_a_watch_expired(talkative: None, space: Space, until: Until) -> None:
    """The operator's version to go on from is gone (410): a new list says what it missed."""
    space.apply(component("goes", "state.in-memory"))
    space.app("app")
    operator = only_pod("dapr-operator")
    with (
        space.watch("app", "/v1.0/state/goes/key", beside=True) as goes,
        space.watch("app", "/v1.0/state/comes/key", beside=True) as comes,
    ):
        goes.until(204)
        comes.until(400)  # there are other stores
        with faults.cut_off_from_api_server(operator["status"]["podIP"]):
            kill_api_server(until)  # what would still be on its way is gone
            kubectl("delete", "component", "goes", "-n", space.name)
            apply_again(space, component("comes", "state.in-memory"), until)
            faults.compact_etcd()
            kill_api_server(until)  # its watch cache begins anew
        comes.until(204)
        goes.until(400)
    log = kubectl("logs", "-n", NAMESPACE, operator["metadata"]["name"])
    assert "components are listed again: watch components: too old" in log


@local
def test_a_killed_sidecar_is_ready_again(space: Space, until: Until, figures: Figures) -> None:
    space.app("app")
    (pod,) = space.pods("app")
    with space.watch("app", "/v1.0/healthz") as watch:
        watch.until(204)
        killed = time.time()
        faults.kill_container(pod, "daprd")
        figures.add("SIGKILLed sidecar ready again, s", watch.until(204) - killed)

    def is_ready() -> bool:
        (found,) = space.pods("app")
        return all(each["ready"] for each in found["status"]["containerStatuses"])

    until(is_ready, 60, "the pod is ready")
    figures.add("its pod ready again, s", time.time() - killed)


def apply_again(space: Space, body: dict[str, object], until: Until) -> None:
    """A server that has just started may refuse for a moment."""

    def applied() -> bool:
        try:
            space.apply(body)
        except CommandError:
            return False
        return True

    until(applied, 30, "it can be applied")
