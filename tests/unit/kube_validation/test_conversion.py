from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dapr_common.kube.conversion import RULES, ConversionError, answer, convert

V1, V2 = "dapr.io/v1alpha1", "dapr.io/v2alpha1"
Body = dict[str, Any]
COMMON = {
    "pubsubname": "p",
    "topic": "t",
    "metadata": {"rawPayload": "true"},
    "deadLetterTopic": "dead",
    "bulkSubscribe": {"enabled": True, "maxMessagesCount": 7, "maxAwaitDurationMs": 8},
}


def subscription(version: str, **spec: Any) -> Body:
    return {
        "apiVersion": version,
        "kind": "Subscription",
        "metadata": {"name": "s", "namespace": "n", "uid": "u", "labels": {"a": "b"}},
        "spec": {**COMMON, **spec},
        "scopes": ["orders"],
    }


def test_one_route() -> None:
    old, new = subscription(V1, route="/o"), subscription(V2, routes={"default": "/o"})
    assert convert(old, V2) == new
    assert convert(new, V1) == old


def test_no_route() -> None:
    assert convert(subscription(V1, route=""), V2) == subscription(V2, routes={})
    assert convert(subscription(V2, routes={}), V1) == subscription(V1, route="")


def test_rules_survive_the_way_down_and_up() -> None:
    rules = [{"match": 'event.type == "a"', "path": "/a"}]
    new = subscription(V2, routes={"rules": rules, "default": "/o"})
    new["metadata"]["annotations"] = {"mine": "yes"}
    old = convert(new, V1)
    assert old["spec"] == {**COMMON, "route": "/o"}
    assert old["metadata"]["annotations"] == {
        "mine": "yes",
        RULES: json.dumps(rules, separators=(",", ":")),
    }
    assert convert(old, V2) == new
    old["spec"]["route"] = "/other"
    assert convert(old, V2)["spec"]["routes"] == {"rules": rules, "default": "/other"}


@pytest.mark.parametrize("text", ["", "{", "7", '[{"match": 1, "path": "/a"}]', '["x"]'])
def test_an_annotation_that_somebody_wrote(text: str) -> None:
    old = subscription(V1, route="/o")
    old["metadata"]["annotations"] = {RULES: text}
    assert convert(old, V2) == subscription(V2, routes={"default": "/o"})


ROUTES = st.fixed_dictionaries(
    {},
    optional={
        "default": st.text(min_size=1),
        "rules": st.lists(
            st.fixed_dictionaries({"match": st.text(), "path": st.text()}), min_size=1
        ),
    },
)


@settings(deadline=None)
@given(ROUTES)
def test_there_and_back_is_the_same(routes: Body) -> None:
    new = subscription(V2, routes=routes)
    before = copy.deepcopy(new)
    assert convert(convert(new, V1), V2) == before == new


def ask(objects: Any, wanted: str = V2) -> Body:
    review = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "ConversionReview",
        "request": {"uid": "u1", "desiredAPIVersion": wanted, "objects": objects},
    }
    answered = json.loads(answer(json.dumps(review).encode()))
    assert (answered["apiVersion"], answered["kind"]) == (review["apiVersion"], review["kind"])
    response: Body = answered["response"]
    assert response["uid"] == "u1"
    return response


def test_a_review_of_several() -> None:
    response = ask([subscription(V1, route="/a"), subscription(V2, routes={"default": "/b"})])
    assert response["result"] == {"status": "Success"}
    assert [one["spec"]["routes"]["default"] for one in response["convertedObjects"]] == [
        "/a",
        "/b",
    ]


@pytest.mark.parametrize(
    ("found", "wanted", "message"),
    [
        ({"kind": "Component"}, V2, "only Subscriptions are converted, not Component"),
        ("text", V2, "only Subscriptions are converted, not this"),
        (subscription(V1, route="/a"), "dapr.io/v3", "not converted from dapr.io/v1alpha1"),
        ({**subscription(V1), "spec": []}, V2, "spec of a Subscription is malformed"),
    ],
)
def test_what_cannot_be_converted(found: Any, wanted: str, message: str) -> None:
    response = ask([found], wanted)
    assert response["result"]["status"] == "Failure"
    assert message in response["result"]["message"]
    assert "convertedObjects" not in response


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"kind":"ConversionReview"}', b'{"kind":"Pod"}'])
def test_what_is_no_review(body: bytes) -> None:
    with pytest.raises(ConversionError):
        answer(body)


def test_a_review_without_objects() -> None:
    with pytest.raises(ConversionError):
        ask(None)
