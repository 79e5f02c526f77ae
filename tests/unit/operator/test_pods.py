"""What is kept of a pod, and what its sidecar died of."""

from __future__ import annotations

from typing import Any

import pytest

from dapr_operator.crash_loops import cause
from dapr_operator.pods import CrashLoop, Owner, Pod
from dapr_operator.watchdog import Patience


def pod(
    annotations: dict[str, str] | None = None, *, spec: Any = None, status: Any = None, **more: Any
) -> Pod | None:
    named = {"dapr.io/enabled": "true", **(annotations or {})}
    metadata = {"name": "orders-1", "namespace": "shop", "uid": "u-1", "annotations": named}
    containers = {"containers": [{"name": "app"}]}
    return Pod.of({"metadata": metadata | more, "spec": spec or containers, "status": status})


def test_pods_that_want_no_sidecar() -> None:
    assert pod({"dapr.io/enabled": "false"}) is None
    assert Pod.of({"metadata": {"name": "x"}}) is None


def test_app_id_and_configuration() -> None:
    found = pod({"dapr.io/app-id": "orders", "dapr.io/config": "tracing"})
    assert found is not None
    assert (found.app_id, found.config) == ("orders", "tracing")
    found = pod()
    assert found is not None
    assert (found.app_id, found.config) == ("orders-1", "")


@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_sidecars_are_found_where_they_are(where: str) -> None:
    found = pod(spec={where: [{"name": "daprd"}]})
    assert found is not None
    assert found.has_sidecar


@pytest.mark.parametrize("label", ["dapr.io/sidecar-injected", "dapr.io/watchdog-patched"])
def test_marks(label: str) -> None:
    found = pod(labels={label: "true"})
    assert found is not None
    assert found.is_marked


def test_owner_is_the_controller() -> None:
    others = {"kind": "X", "name": "x", "uid": "1"}
    owner = {"kind": "ReplicaSet", "name": "orders", "uid": "2", "controller": True}
    found = pod(ownerReferences=[others, owner])
    assert found is not None
    assert found.owner == Owner("ReplicaSet", "orders", "2")


def test_crash_loop() -> None:
    container = {
        "name": "daprd",
        "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "a\nFatal: b\n"}},
    }
    found = pod(status={"initContainerStatuses": [container]})
    assert found is not None
    assert found.crash_loop == CrashLoop(4, 1, "Error", "a\nFatal: b\n")
    assert cause(found.crash_loop) == "it ended with exit code 1: a Fatal: b"


def test_causes_without_last_words() -> None:
    assert cause(CrashLoop(3, 137, "OOMKilled", "")) == (
        "it ended with exit code 137 (OOMKilled); its log says more: "
        "kubectl logs -c daprd --previous"
    )


# --- how often pods of one controller are deleted ---------------------------------------------


def test_patience_grows_while_pods_come_back_without_a_sidecar() -> None:
    patience, owner = Patience(), Owner("ReplicaSet", "orders", "1")
    other = Owner("ReplicaSet", "payments", "2")
    now, waits = 0.0, []
    for _ in range(5):
        assert patience.may(owner, now)
        patience.deleted(owner, 3, now)
        assert not patience.may(owner, now + 59)
        assert patience.may(other, now)
        began = now
        while not patience.may(owner, now):
            now += 30
        waits.append(now - began)
    assert waits == [60, 120, 240, 480, 960]
    assert not patience.has_ended(owner)
    patience.deleted(owner, 3, now)
    assert patience.has_ended(owner)
    assert not patience.may(owner, now + 1e9)
    assert not patience.has_ended(other)


def test_patience_begins_anew_when_a_new_pod_has_its_sidecar() -> None:
    patience, owner = Patience(), Owner("ReplicaSet", "orders", "1")
    for _ in range(6):
        patience.deleted(owner, 1, 0.0)
    patience.worked(owner)
    assert not patience.has_ended(owner)
    assert not patience.may(owner, 0.0), "one deletion after the other all the same"
    assert patience.may(owner, 1e6)
    patience.deleted(owner, 1, 1e6)
    assert patience.may(owner, 1e6 + 60)
