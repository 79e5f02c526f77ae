"""What a real cluster refuses of our kinds, what it lets pass as Dapr does, and what it adds."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Answer, Cluster, path_of

Put = Callable[[dict[str, Any]], Answer]
GONE = object()
CALLERS = [{"appID": "a"}]
POLICY = {"callers": CALLERS, "activities": [{"name": "a"}]}
OPERATIONS = {"name": "w", "operations": ["get"]}

BODIES: dict[str, dict[str, Any]] = {
    "Component": {
        "spec": {"type": "state.redis", "version": "v1", "metadata": [{"name": "n", "value": "v"}]},
        "auth": {"secretStore": "s"},
        "scopes": ["a"],
    },
    "Configuration": {
        "spec": {
            "tracing": {"samplingRate": "1"},
            "features": [{"name": "f", "enabled": True}],
            "mtls": {
                "enabled": True,
                "controlPlaneTrustDomain": "d",
                "sentryAddress": "a",
                "tokenValidators": [{"name": "jwks"}],
            },
            "nameResolution": {"component": "dns", "version": "v1", "configuration": {}},
            "accessControl": {"policies": [{"appId": "a"}]},
        }
    },
    "HTTPEndpoint": {"spec": {"baseUrl": "http://a", "clientTLS": {}}},
    "MCPServer": {"spec": {"endpoint": {"sse": {"url": "http://a"}}}},
    "Resiliency": {
        "spec": {"policies": {"retries": {"r": {}}, "timeouts": {}}, "targets": {"apps": {"a": {}}}}
    },
    "Subscription": {
        "spec": {
            "pubsubname": "p",
            "topic": "t",
            "routes": {"rules": [{"match": "m", "path": "/p"}]},
            "bulkSubscribe": {"enabled": True},
            "metadata": {"a": "b"},
        }
    },
    "WorkflowAccessPolicy": {"spec": {"rules": [POLICY]}},
}

REFUSED = [
    ("Component", "spec.type", 5, "spec.type: Invalid value"),
    ("Component", "spec.type", GONE, "spec.type: Required value"),
    ("Component", "spec.version", GONE, "spec.version: Required value"),
    ("Component", "spec.metadata", GONE, "spec.metadata: Required value"),
    ("Component", "spec.metadata", "n=v", "spec.metadata: Invalid value"),
    ("Component", "spec.metadata.0.name", GONE, "spec.metadata[0].name: Required value"),
    ("Component", "spec.metadata.0.envRef", True, "spec.metadata[0].envRef: Invalid value"),
    ("Component", "spec.metadata.0.secretKeyRef", {"key": "k"}, "secretKeyRef.name: Required"),
    ("Component", "spec.ignoreErrors", "true", "spec.ignoreErrors: Invalid value"),
    ("Component", "spec.initTimeout", 5, "spec.initTimeout: Invalid value"),
    ("Component", "auth.secretStore", GONE, "auth.secretStore: Required value"),
    ("Component", "scopes", "a", "scopes: Invalid value"),
    ("Component", "scopes.0", 1, "scopes[0]: Invalid value"),
    ("Configuration", "spec.tracing.samplingRate", 1, "samplingRate: Invalid value"),
    ("Configuration", "spec.tracing.samplingRate", GONE, "samplingRate: Required value"),
    ("Configuration", "spec.tracing.zipkin", {}, "zipkin.endpointAddress: Required value"),
    ("Configuration", "spec.features.0.enabled", GONE, "features[0].enabled: Required value"),
    ("Configuration", "spec.mtls.sentryAddress", GONE, "sentryAddress: Required value"),
    ("Configuration", "spec.mtls.tokenValidators.0.name", "oidc", 'supported values: "jwks"'),
    ("Configuration", "spec.nameResolution.configuration", "text", "configuration: Invalid"),
    ("Configuration", "spec.metric", {"http": {}}, "spec.metric.enabled: Required value"),
    ("Configuration", "spec.accessControl.policies.0.operations", [{"name": "/"}], "action: Requ"),
    ("HTTPEndpoint", "spec.baseUrl", GONE, "spec.baseUrl: Required value"),
    ("HTTPEndpoint", "spec.clientTLS.renegotiation", "Often", "Unsupported value"),
    ("HTTPEndpoint", "spec.clientTLS.rootCA", "pem", "rootCA: Invalid value"),
    ("HTTPEndpoint", "spec.headers", [{"value": "v"}], "headers[0].name: Required value"),
    ("MCPServer", "spec.endpoint", GONE, "spec.endpoint: Required value"),
    ("MCPServer", "spec.endpoint.sse", GONE, "exactly one of streamableHTTP, sse, or stdio"),
    ("MCPServer", "spec.endpoint.stdio", {"command": "c"}, "exactly one of streamableHTTP, sse"),
    ("MCPServer", "spec.endpoint.sse.url", "", "should be at least 1 chars long"),
    ("MCPServer", "spec.middleware", {"beforeCallTool": [{}]}, "workflow: Required value"),
    ("Resiliency", "spec.policies", GONE, "spec.policies: Required value"),
    ("Resiliency", "spec.targets", GONE, "spec.targets: Required value"),
    ("Resiliency", "spec.policies.retries.r.maxRetries", "3", "maxRetries: Invalid value"),
    ("Resiliency", "spec.policies.timeouts.t", 5, "timeouts.t: Invalid value"),
    ("Subscription", "spec.topic", GONE, "spec.topic: Required value"),
    ("Subscription", "spec.routes", GONE, "spec.routes: Required value"),
    ("Subscription", "spec.routes.rules.0.match", GONE, "rules[0].match: Required value"),
    ("Subscription", "spec.bulkSubscribe.enabled", GONE, "bulkSubscribe.enabled: Required"),
    ("Subscription", "spec.bulkSubscribe.maxMessagesCount", 1.5, "maxMessagesCount: Invalid"),
    ("Subscription", "spec.metadata.a", True, "spec.metadata.a: Invalid value"),
    ("WorkflowAccessPolicy", "spec.rules.0.activities", GONE, "at least one of workflows or"),
    ("WorkflowAccessPolicy", "spec.rules.0.activities", [], "at least one of workflows or"),
    ("WorkflowAccessPolicy", "spec.rules.0.callers", [], "should have at least 1 items"),
    ("WorkflowAccessPolicy", "spec.rules.0.callers.0.appID", "", "should be at least 1 chars"),
    (
        "WorkflowAccessPolicy",
        "spec.rules.0.workflows",
        [{"name": "w", "operations": ["get", "get"]}],
        "operations[1]: Duplicate value",
    ),
    (
        "WorkflowAccessPolicy",
        "spec.rules.0.workflows",
        [{"name": "w", "operations": ["restart"]}],
        "Unsupported value",
    ),
]

TAKEN = [
    ("Component", "spec", GONE),
    ("Component", "auth", GONE),
    ("Component", "spec.type", ""),
    ("Component", "spec.initTimeout", "soon"),
    ("Component", "spec.metadata.0.value", GONE),
    ("Component", "spec.metadata.0.value", 1.5),
    ("Component", "spec.metadata.0.value", [{"a": [1, "b", None]}]),
    ("Component", "spec.metadata.0.name", ""),
    ("Configuration", "spec", GONE),
    ("Configuration", "spec.tracing.samplingRate", "often"),
    ("Configuration", "spec.nameResolution.configuration", {"a": [{"b": 1}], "c": "d"}),
    ("Configuration", "spec.mtls.tokenValidators.0.options", {"a": {"b": [1]}}),
    ("Configuration", "spec.accessControl.defaultAction", "Maybe"),
    ("Configuration", "spec.accessControl.policies", []),
    ("HTTPEndpoint", "spec.baseUrl", "no url"),
    ("HTTPEndpoint", "spec.clientTLS.rootCA", {"value": {"any": "thing"}}),
    ("MCPServer", "spec.endpoint.sse.timeout", "soon"),
    ("Resiliency", "spec.policies.retries.r", {"policy": "sometimes", "maxRetries": -7}),
    ("Resiliency", "spec.policies.timeouts.t", "soon"),
    ("Resiliency", "spec.targets.apps.a.retry", "nobody"),
    ("Subscription", "spec.routes", {}),
    ("Subscription", "spec.bulkSubscribe.maxMessagesCount", -1),
    ("WorkflowAccessPolicy", "spec.rules", GONE),
    ("WorkflowAccessPolicy", "spec.rules.0", {"callers": CALLERS, "workflows": [OPERATIONS]}),
]


def body(kind: str) -> dict[str, Any]:
    version = "v2alpha1" if kind == "Subscription" else "v1alpha1"
    head = {"apiVersion": f"dapr.io/{version}", "kind": kind, "metadata": {"name": "sample"}}
    return head | copy.deepcopy(BODIES[kind])


def changed(kind: str, path: str, value: object) -> dict[str, Any]:
    """A body that is right but for one thing."""
    found = body(kind)
    *ways, last = (int(step) if step.isdigit() else step for step in path.split("."))
    inside: Any = found
    for step in ways:
        inside = inside[step]
    if value is GONE:
        del inside[last]
    else:
        inside[last] = value
    return found


@pytest.mark.parametrize("kind", BODIES)
def test_the_body_is_right_before_it_is_changed(put: Put, kind: str) -> None:
    answer = put(body(kind))
    assert (answer.status, answer.warnings) == (201, []), answer


@pytest.mark.parametrize(("kind", "path", "value", "message"), REFUSED)
def test_refused(put: Put, kind: str, path: str, value: object, message: str) -> None:
    answer = put(changed(kind, path, value))
    assert answer.status == 422, answer
    assert message in answer.message


@pytest.mark.parametrize(("kind", "path", "value"), TAKEN)
def test_taken_as_it_is(cluster: Cluster, put: Put, kind: str, path: str, value: object) -> None:
    wanted = changed(kind, path, value)
    answer = put(wanted)
    assert (answer.status, answer.warnings) == (201, []), answer
    found = cluster.call("GET", path_of(wanted)).body
    if kind == "Configuration":
        for name in ("metric", "metrics"):
            found.get("spec", {}).pop(name, None)
    if kind == "HTTPEndpoint":
        del found["spec"]["clientTLS"]["renegotiation"]
    assert {k: v for k, v in found.items() if k != "metadata"} == {
        k: v for k, v in wanted.items() if k != "metadata"
    }


def test_metrics_are_on_unless_they_are_off(put: Put) -> None:
    spec = put(changed("Configuration", "spec.metric", {"enabled": False})).body["spec"]
    assert (spec["metric"], spec["metrics"]) == ({"enabled": False}, {"enabled": True})


def test_renegotiation_is_never(put: Put) -> None:
    spec = put(body("HTTPEndpoint")).body["spec"]
    assert spec["clientTLS"] == {"renegotiation": "Never"}


def test_a_value_that_was_left_empty_is_no_value(put: Put) -> None:
    answer = put(changed("Component", "spec.metadata.0.value", None))
    assert (answer.status, answer.warnings) == (201, [])
    assert answer.body["spec"]["metadata"] == [{"name": "n"}]
