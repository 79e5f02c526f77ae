"""What no sidecar could load is refused at ``kubectl apply``, with the name of the field."""

from __future__ import annotations

from typing import Any

import pytest
from cluster.applications import Space, component, resource
from cluster.figures import Figures
from cluster.kubectl import CommandError

_RETRY = {"policy": "constant", "duration": "1s"}
_RULE = {"match": "event.type ==", "path": "/orders"}
WRONG: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("misspelt setting", component("w", "state.redis", redisHots="redis:6379"), "redisHots"),
    ("missing setting", component("w", "state.redis", redisPassword="x"), "redisHost"),
    ("misspelt type", component("w", "state.rediss", redisHost="redis:6379"), "spec.type"),
    ("no such version", component("w", "state.redis", version="v9"), "spec.version"),
    (
        "a bad duration",
        resource("Resiliency", "w", policies={"timeouts": {"t": "10 secs"}}, targets={}),
        "spec.policies.timeouts.t",
    ),
    (
        "an unknown policy",
        resource(
            "Resiliency",
            "w",
            policies={"retries": {"again": _RETRY}},
            targets={"apps": {"a": {"retry": "agian"}}},
        ),
        "spec.targets.apps.a.retry",
    ),
    (
        "a bad rate",
        resource("Configuration", "w", tracing={"samplingRate": "often"}),
        "spec.tracing.samplingRate",
    ),
    (
        "a bad action",
        resource("Configuration", "w", accessControl={"defaultAction": "refuse"}),
        "spec.accessControl.defaultAction",
    ),
    (
        "a bad expression",
        resource(
            "Subscription",
            "w",
            "v2alpha1",
            pubsubname="pubsub",
            topic="t",
            routes={"rules": [_RULE]},
        ),
        "spec.routes.rules[0].match",
    ),
    ("a bad address", resource("HTTPEndpoint", "w", baseUrl="example"), "spec.baseUrl"),
)


def test_what_no_sidecar_could_load_is_refused(space: Space, figures: Figures) -> None:
    let_in, unnamed = [], []
    for what, broken, field in WRONG:
        try:
            space.apply(broken)
        except CommandError as error:
            if field not in str(error):
                unnamed.append(f"{what}: {error}")
        else:
            let_in.append(what)
    figures.add("wrong manifests refused", f"{len(WRONG) - len(let_in)} of {len(WRONG)}")
    assert let_in == []
    assert unnamed == []


def test_a_refusal_says_what_was_probably_meant(space: Space) -> None:
    with pytest.raises(CommandError, match='did you mean "redisHost"'):
        space.apply(component("wrong", "state.redis", redisHots="redis:6379"))


def test_an_older_subscription_is_the_newer_one_too(space: Space) -> None:
    """The conversion webhook answers."""
    older = resource("Subscription", "s", pubsubname="pubsub", topic="t", route="/orders")
    space.apply(older)
    found = space.get("subscriptions.v2alpha1.dapr.io", "s")
    assert found["spec"]["routes"]["default"] == "/orders"
    assert space.get("subscriptions.v1alpha1.dapr.io", "s")["spec"]["route"] == "/orders"
