"""What counts as a change of an object, and what sidecars get of it."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from dapr_operator.kinds import COMPONENT
from dapr_operator.resource import Resource

BODY: dict[str, Any] = {
    "apiVersion": "dapr.io/v1alpha1",
    "kind": "Component",
    "metadata": {
        "name": "store",
        "namespace": "shop",
        "uid": "u-1",
        "resourceVersion": "7",
        "generation": 2,
        "labels": {"team": "a"},
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "note": "kept",
        },
        "managedFields": [{"manager": "kubectl"}],
    },
    "spec": {"type": "state.redis", "version": "v1", "metadata": [{"name": "a", "value": "1"}]},
    "scopes": ["orders"],
    "auth": {"secretStore": "vault"},
    "status": {"loaded": "1/1"},
}


def changed(**parts: Any) -> Resource:
    body = copy.deepcopy(BODY)
    metadata = parts.pop("metadata", {})
    body["metadata"] |= metadata
    return Resource.of(COMPONENT, body | parts)


def test_what_sidecars_get() -> None:
    found = orjson.loads(Resource.of(COMPONENT, BODY).json)
    assert found["spec"] == BODY["spec"]
    assert found["scopes"] == ["orders"]
    assert found["auth"] == {"secretStore": "vault"}
    assert found["kind"] == "Component"
    assert found["metadata"]["resourceVersion"] == "7"
    assert found["metadata"]["annotations"] == {"note": "kept"}
    assert "managedFields" not in found["metadata"]
    assert "status" not in found


@pytest.mark.parametrize(
    "same",
    [
        {"status": {"loaded": "0/9"}},
        {"metadata": {"resourceVersion": "8", "managedFields": []}},
        {"metadata": {"generation": 3}},
    ],
)
def test_what_the_control_plane_writes_is_no_change(same: dict[str, Any]) -> None:
    assert changed(**same) == Resource.of(COMPONENT, BODY)


@pytest.mark.parametrize(
    "other",
    [
        {"spec": {"type": "state.redis", "version": "v2", "metadata": []}},
        {"scopes": []},
        {"auth": {"secretStore": "kubernetes"}},
        {"metadata": {"labels": {"team": "b"}}},
        {"metadata": {"uid": "u-2"}},
    ],
)
def test_everything_else_is_a_change(other: dict[str, Any]) -> None:
    assert changed(**other) != Resource.of(COMPONENT, BODY)


def test_the_cluster_s_object_is_left_as_it_is() -> None:
    before = copy.deepcopy(BODY)
    assert Resource.of(COMPONENT, BODY).json
    assert before == BODY


def test_scopes_that_are_no_list() -> None:
    with pytest.raises(ValueError, match="scopes"):
        changed(scopes="orders")
