"""Whatever stands in a body: problems, never an exception."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dapr_common.kube.conversion import ConversionError, convert
from dapr_common.kube.validation.objects import validate

NAMES = [
    *("spec", "type", "version", "metadata", "name", "value", "secretKeyRef", "envRef", "key"),
    *("tracing", "otel", "zipkin", "headers", "accessControl", "policies", "operations", "mtls"),
    *("httpPipeline", "handlers", "nameResolution", "component", "secrets", "scopes", "api"),
    *("allowed", "denied", "metrics", "rules", "labels", "features", "workflow", "retries"),
    *("targets", "apps", "actors", "components", "timeouts", "circuitBreakers", "inbound"),
    *("retry", "timeout", "routes", "default", "match", "path", "bulkSubscribe", "clientTLS"),
    *("baseUrl", "topic", "pubsubname", "route", "annotations", "trip", "matching"),
]
KINDS = ["Component", "Configuration", "Resiliency", "Subscription", "HTTPEndpoint"]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 99999)
    | st.floats()
    | st.sampled_from(["", "state.redis", "v1", "5s", "x", "http://[", "a.b.c", "\ud800"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=20,
)
BODIES = st.builds(
    lambda kind, version, spec, metadata: {
        "apiVersion": f"dapr.io/{version}",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    },
    st.sampled_from(KINDS),
    st.sampled_from(["v1alpha1", "v2alpha1"]),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8) | LEAVES,
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3) | LEAVES,
)


@settings(max_examples=300, deadline=None)
@given(BODIES)
def test_validation_only_finds_problems(body: dict[str, Any]) -> None:
    for problem in validate(body):
        assert problem.path.startswith("spec"), problem
        assert problem.message


@settings(max_examples=200, deadline=None)
@given(BODIES, st.sampled_from(["dapr.io/v1alpha1", "dapr.io/v2alpha1", "x"]))
def test_conversion_only_refuses(body: dict[str, Any], wanted: str) -> None:
    try:
        converted = convert(body, wanted)
    except ConversionError:
        return
    assert converted["apiVersion"] == wanted
