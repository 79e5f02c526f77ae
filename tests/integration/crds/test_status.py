"""The status: the control plane writes it, manifests do not, and ``kubectl get`` shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import APPLY, MERGE_PATCH, Answer, Cluster, collection, path_of

Put = Callable[[dict[str, Any]], Answer]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
NOW = "2026-01-02T03:04:05Z"
SPECS: dict[str, dict[str, Any]] = {
    "Component": {"type": "state.redis", "version": "v1", "metadata": []},
    "Configuration": {"tracing": {"samplingRate": "0.5"}, "metric": {"enabled": True}},
    "HTTPEndpoint": {"baseUrl": "http://example.com"},
    "Resiliency": {"policies": {}, "targets": {}},
    "Subscription": {"pubsubname": "pubsub", "topic": "orders", "routes": {"default": "/orders"}},
    "MCPServer": {
        "endpoint": {"stdio": {"command": "tool"}},
        "catalog": {"displayName": "Tool", "owner": {"team": "shop"}},
    },
    "WorkflowAccessPolicy": {"rules": []},
}
CHANGES: dict[str, dict[str, Any]] = {
    "Component": {"type": "state.memory"},
    "Configuration": {"tracing": {"samplingRate": "1"}},
    "HTTPEndpoint": {"baseUrl": "http://example.org"},
    "Resiliency": {"targets": {"apps": {"a": {}}}},
    "Subscription": {"topic": "carts"},
}
WITH_STATUS = list(CHANGES)
COLUMNS = {
    "Component": ("Type", "Version", "Loaded", "Last Error", "Age"),
    "Configuration": ("Ready", "mTLS*", "Sampling*", "Age"),
    "HTTPEndpoint": ("URL", "Ready", "Scopes*", "Age"),
    "Resiliency": ("Ready", "Scopes*", "Age"),
    "Subscription": ("PubSub", "Topic", "Ready", "Scopes*", "Age"),
    "MCPServer": ("Display Name", "Team*", "Scopes*", "Age"),
    "WorkflowAccessPolicy": ("Scopes*", "Age"),
}
CELLS = {
    "Component": ("state.redis", "v1", "2/3", "connection refused"),
    "Configuration": ("True", None, "0.5"),
    "HTTPEndpoint": ("http://example.com", "True", '["a","b"]'),
    "Resiliency": ("True", '["a","b"]'),
    "Subscription": ("pubsub", "orders", "True", '["a","b"]'),
    "MCPServer": ("Tool", "shop", '["a","b"]'),
    "WorkflowAccessPolicy": ('["a","b"]',),
}


def body(kind: str) -> dict[str, Any]:
    version = "v2alpha1" if kind == "Subscription" else "v1alpha1"
    found = {
        "apiVersion": f"dapr.io/{version}",
        "kind": kind,
        "metadata": {"name": "shown"},
        "spec": SPECS[kind],
    }
    return found if kind == "Configuration" else found | {"scopes": ["a", "b"]}


def condition(about: str = "Ready") -> dict[str, Any]:
    return {
        "type": about,
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "lastTransitionTime": NOW,
        "observedGeneration": 1,
    }


def status(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {"conditions": [condition()]}
    if kind == "Component":
        found |= {
            "loaded": "2/3",
            "sidecars": {"total": 3, "loaded": 2, "failed": 1},
            "lastError": {"message": "connection refused", "sidecar": "orders-7", "time": NOW},
        }
    return found


def write(cluster: Cluster, wanted: dict[str, Any], patch: dict[str, Any]) -> Answer:
    return cluster.call(
        "PATCH",
        f"{path_of(wanted)}/status",
        patch,
        content_type=MERGE_PATCH,
        fieldValidation="Strict",
    )


@pytest.mark.parametrize("kind", WITH_STATUS)
def test_the_status_is_written_and_nothing_else(cluster: Cluster, put: Put, kind: str) -> None:
    wanted = body(kind)
    before = put(wanted).body
    patch = {"status": status(kind), "spec": CHANGES[kind]}
    if "scopes" in wanted:
        patch["scopes"] = ["c"]
    written = write(cluster, wanted, patch)
    assert (written.status, written.warnings) == (200, [])
    found = cluster.call("GET", path_of(wanted)).body
    assert found["status"] == status(kind)
    assert found["spec"] == before["spec"]
    assert found.get("scopes") == before.get("scopes")
    assert found["metadata"]["generation"] == before["metadata"]["generation"] == 1


@pytest.mark.parametrize("kind", WITH_STATUS)
def test_a_manifest_does_not_touch_the_status(cluster: Cluster, put: Put, kind: str) -> None:
    wanted = body(kind)
    made = put(wanted | {"status": status(kind)})
    assert "status" not in made.body
    write(cluster, wanted, {"status": status(kind)})
    patch = {"status": None, "metadata": {"labels": {"a": "b"}}}
    found = cluster.call("PATCH", path_of(wanted), patch, content_type=MERGE_PATCH)
    assert found.body["metadata"]["labels"] == {"a": "b"}
    assert found.body["status"] == status(kind)


@pytest.mark.parametrize("kind", WITH_STATUS)
def test_a_condition_is_a_condition(cluster: Cluster, put: Put, kind: str) -> None:
    wanted = body(kind)
    put(wanted)
    for key, value, message in (
        ("status", "Perhaps", "Unsupported value"),
        ("reason", "", "should be at least 1 chars long"),
        ("lastTransitionTime", "yesterday", "must be of type date-time"),
        ("observedGeneration", "1", "must be of type integer"),
    ):
        answer = write(cluster, wanted, {"status": {"conditions": [condition() | {key: value}]}})
        assert answer.status == 422
        assert message in answer.message
    twice = write(cluster, wanted, {"status": {"conditions": [condition(), condition()]}})
    assert twice.status == 422
    assert "Duplicate value" in twice.message


def test_two_writers_have_a_condition_each(cluster: Cluster, put: Put) -> None:
    wanted = body("Component")
    put(wanted)
    for writer, about in (("operator", "Ready"), ("auditor", "Audited")):
        patch = {key: wanted[key] for key in ("apiVersion", "kind", "metadata")}
        patch |= {"status": {"conditions": [condition(about)]}}
        answer = cluster.call(
            "PATCH",
            f"{path_of(wanted)}/status",
            json.dumps(patch),
            content_type=APPLY,
            fieldManager=writer,
        )
        assert answer.status == 200
    found = cluster.call("GET", path_of(wanted)).body["status"]["conditions"]
    assert [entry["type"] for entry in found] == ["Ready", "Audited"]


@pytest.mark.parametrize("kind", SPECS)
def test_what_kubectl_get_shows(cluster: Cluster, put: Put, kind: str) -> None:
    wanted = body(kind)
    put(wanted)
    if kind in WITH_STATUS:
        write(cluster, wanted, {"status": status(kind)})
    table = cluster.call("GET", collection(wanted), accept=TABLE).body
    assert table["kind"] == "Table"
    columns = [c["name"] + "*" * c["priority"] for c in table["columnDefinitions"]]
    assert columns == ["Name", *COLUMNS[kind]]
    [row] = table["rows"]
    name, *cells, age = row["cells"]
    assert (name, *cells) == ("shown", *CELLS[kind])
    assert age.endswith("s")


def test_before_a_sidecar_has_said_anything(cluster: Cluster, put: Put) -> None:
    wanted = body("Component")
    put(wanted)
    [row] = cluster.call("GET", collection(wanted), accept=TABLE).body["rows"]
    assert row["cells"][:5] == ["shown", "state.redis", "v1", None, None]
