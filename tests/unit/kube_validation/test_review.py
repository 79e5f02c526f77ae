from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dapr_common.kube.validation.review import ReviewError, answer

Body = dict[str, Any]
MakeBody = Callable[..., Body]
BAD = "type: state.redis\nmetadata: [{name: redisHots, value: r}]"


def asked(body: Any, version: str = "v1", **more: Any) -> Body:
    request = {"uid": "u1", "operation": "CREATE", "object": body, **more}
    review = {"apiVersion": f"admission.k8s.io/{version}", "kind": "AdmissionReview"}
    answered = json.loads(answer(json.dumps(review | {"request": request}).encode()))
    assert answered["apiVersion"] == review["apiVersion"]
    assert answered["kind"] == "AdmissionReview"
    response: Body = answered["response"]
    assert response["uid"] == "u1"
    return response


def test_what_is_fine_passes_in_silence(make_body: MakeBody) -> None:
    assert asked(make_body("Component", "type: state.in-memory")) == {"uid": "u1", "allowed": True}


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_refusal_names_object_and_fields(make_body: MakeBody, version: str) -> None:
    response = asked(make_body("Component", BAD), version)
    assert response["allowed"] is False
    status = response["status"]
    assert (status["code"], status["reason"]) == (422, "Invalid")
    said = '"redisHots" is unknown to state.redis, did you mean "redisHost"?'
    field = "spec.metadata[0].name"
    assert status["message"] == f"Component it cannot be used by a sidecar: {field}: {said}"
    cause = {"reason": "FieldValueNotSupported", "field": field, "message": said}
    assert status["details"]["causes"] == [cause]


def test_warnings_go_along(make_body: MakeBody) -> None:
    response = asked(make_body("Component", "type: pubsub.pulsar"))
    assert response["allowed"] is True
    assert response["warnings"][0].startswith('spec.type: "pubsub.pulsar" is no type')


def test_many_and_long_warnings_are_cut(make_body: MakeBody) -> None:
    entries = "\n".join(f"- {{name: {'x' * 300}{n}, value: v}}" for n in range(50))
    response = asked(make_body("Component", f"type: state.in-memory\nmetadata:\n{entries}"))
    assert len(response["warnings"]) == 12
    assert max(map(len, response["warnings"])) <= 250


def test_one_object_may_be_let_in(make_body: MakeBody) -> None:
    body = make_body("Component", BAD)
    body["metadata"]["annotations"] = {"dapr.io/validation": "warn"}
    response = asked(body)
    assert response["allowed"] is True
    assert "did you mean" in response["warnings"][0]


def test_what_was_there_before_can_be_labelled_and_deleted(make_body: MakeBody) -> None:
    body = make_body("Component", BAD)
    labelled = {**body, "metadata": {"name": "it", "labels": {"a": "b"}}}
    assert asked(labelled, operation="UPDATE", oldObject=body)["allowed"] is True
    assert asked(None, operation="DELETE", oldObject=body)["allowed"] is True
    worse = make_body("Component", BAD + "\nversion: v2")
    assert asked(worse, operation="UPDATE", oldObject=body)["allowed"] is False


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"kind":"Pod"}',
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v2","request":{}}',
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}',
    ],
)
def test_what_is_no_review(body: bytes) -> None:
    with pytest.raises(ReviewError):
        answer(body)
