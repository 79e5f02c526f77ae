"""The Service of a workload."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_operator.kinds import DEPLOYMENTS, ROLLOUTS, STATEFUL_SETS
from dapr_operator.service_object import AppIdError, is_same, replaced, service_for, service_name
from dapr_operator.workload import Workload, owner_key


def workload(annotations: dict[str, str], kind: Any = DEPLOYMENTS, **metadata: Any) -> Workload:
    named = {f"dapr.io/{name.replace('_', '-')}": text for name, text in annotations.items()}
    body = {
        "metadata": {"name": "shop", "namespace": "apps", "uid": "u-1", **metadata},
        "spec": {
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {"metadata": {"annotations": {"dapr.io/enabled": "true", **named}}},
        },
    }
    return Workload.of(kind, body)


def ports(service: dict[str, Any]) -> dict[str, tuple[int, int]]:
    found = service["spec"]["ports"]
    assert all(one["protocol"] == "TCP" for one in found)
    return {one["name"]: (one["port"], one["targetPort"]) for one in found}


def test_defaults() -> None:
    service = service_for(workload({"app_id": "orders"}))
    assert service["metadata"] == {
        "name": "orders-dapr",
        "namespace": "apps",
        "labels": {"dapr.io/enabled": "true"},
        "annotations": {
            "dapr.io/app-id": "orders",
            "prometheus.io/probe": "true",
            "prometheus.io/scrape": "true",
            "prometheus.io/port": "9090",
            "prometheus.io/path": "/",
        },
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": "shop",
                "uid": "u-1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"app": "shop"}
    assert ports(service) == {
        "dapr-http": (80, 3500),
        "dapr-grpc": (50001, 50001),
        "dapr-internal": (50002, 50002),
        "dapr-metrics": (9090, 9090),
    }


def test_ports_and_metrics_of_the_annotations() -> None:
    service = service_for(
        workload(
            {
                "app_id": "orders",
                "enable_metrics": "false",
                "metrics_port": "9191",
                "grpc_port": "40001",
                "internal_grpc_port": "40002",
            }
        )
    )
    assert service["metadata"]["annotations"] == {"dapr.io/app-id": "orders"}
    assert ports(service)["dapr-metrics"] == (9191, 9191), "there without metrics as well"
    assert ports(service)["dapr-grpc"] == (40001, 40001)
    assert ports(service)["dapr-internal"] == (40002, 40002)


@pytest.mark.parametrize("text", ["", "x", "0", "65536", "-1", "1e3"])
def test_a_port_that_is_none_is_the_default(text: str) -> None:
    service = service_for(workload({"app_id": "orders", "grpc_port": text}))
    assert ports(service)["dapr-grpc"] == (50001, 50001)


def test_annotations_of_the_user() -> None:
    given = " a = b ,c=d,, =e,f,dapr.io/app-id=evil,prometheus.io/port=1"
    service = service_for(workload({"app_id": "orders", "sidecar_svc_annotations": given}))
    found = service["metadata"]["annotations"]
    assert (found["a"], found["c"]) == ("b", "d")
    assert (found["dapr.io/app-id"], found["prometheus.io/port"]) == ("orders", "9090")
    assert "f" not in found


@pytest.mark.parametrize("app_id", ["", " ", "a" * 59, "Orders", "a.b", "-a", "a_b"])
def test_app_ids_that_no_service_can_have(app_id: str) -> None:
    with pytest.raises(AppIdError, match="app-id"):
        service_name(workload({"app_id": app_id}))


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,56}[a-z0-9])?", fullmatch=True))
def test_app_ids_that_a_service_can_have(app_id: str) -> None:
    assert len(service_name(workload({"app_id": app_id}))) <= 63


@pytest.mark.parametrize(
    ("kind", "word", "version"),
    [
        (DEPLOYMENTS, "Deployment", "apps/v1"),
        (STATEFUL_SETS, "StatefulSet", "apps/v1"),
        (ROLLOUTS, "Rollout", "argoproj.io/v1alpha1"),
    ],
)
def test_owners(kind: Any, word: str, version: str) -> None:
    made = workload({"app_id": "orders"}, kind)
    (owner,) = service_for(made)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["apiVersion"]) == (word, version)
    assert owner_key(service_for(made)) == (made.key, "u-1")


@pytest.mark.parametrize(
    ("enabled", "wants"), [(" Yes ", True), ("1", True), ("no", False), ("", False)]
)
def test_who_wants_a_service(enabled: str, wants: bool) -> None:
    assert workload({"enabled": enabled}).wants_service is wants


def test_workloads_that_end_want_none() -> None:
    assert not workload({}, deletionTimestamp="2026-01-01T00:00:00Z").wants_service


def as_stored(service: dict[str, Any]) -> dict[str, Any]:
    """As an API server gives it back."""
    found = copy.deepcopy(service)
    found["metadata"] |= {"uid": "s-1", "resourceVersion": "5", "creationTimestamp": "now"}
    found["spec"] |= {
        "clusterIPs": ["None"],
        "ipFamilies": ["IPv4"],
        "type": "ClusterIP",
        "sessionAffinity": "None",
    }
    return found


def test_what_the_api_server_adds_makes_no_difference() -> None:
    wanted = service_for(workload({"app_id": "orders"}))
    assert is_same(as_stored(wanted), wanted)


@pytest.mark.parametrize(
    "annotations",
    [{"grpc_port": "1"}, {"enable_metrics": "no"}, {"sidecar_svc_annotations": "a=b"}],
)
def test_differences_are_made_good(annotations: dict[str, str]) -> None:
    found = as_stored(service_for(workload({"app_id": "orders"})))
    wanted = service_for(workload({"app_id": "orders", **annotations}))
    assert not is_same(found, wanted)
    update = replaced(found, wanted)
    assert is_same(update, wanted)
    assert update["metadata"]["resourceVersion"] == "5"
    assert update["spec"]["clusterIPs"] == ["None"]
