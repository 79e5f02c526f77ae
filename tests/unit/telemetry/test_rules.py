from __future__ import annotations

from typing import Any

import pytest
from harness.prometheus_text import samples

from dapr_sidecar.telemetry.base import MetricsError
from dapr_sidecar.telemetry.metrics import SidecarMetrics, build_registry
from dapr_sidecar.telemetry.rules import rewriter


def rule(name: str, label: str, **regex: str) -> dict[str, Any]:
    return {"name": name, "labels": [{"name": label, "regex": regex}]}


def rewritten(value: str, replacement: str, pattern: str) -> str:
    rewrite = rewriter([rule("m", "path", **{replacement: pattern})])
    assert rewrite is not None
    return rewrite("dapr_m", "path", value)


def test_without_rules_nothing_is_rewritten() -> None:
    assert rewriter([]) is None
    assert rewriter([{"name": "m"}]) is None
    assert rewriter([{"name": "m", "labels": []}]) is None


def test_only_the_named_metric_and_label() -> None:
    rewrite = rewriter([rule("http/server/latency", "path", orders="/orders/.+")])
    assert rewrite is not None
    assert rewrite("dapr_http_server_latency", "path", "/orders/1") == "orders"
    assert rewrite("dapr_http_server_latency", "method", "/orders/1") == "/orders/1"
    assert rewrite("dapr_http_client_latency", "path", "/orders/1") == "/orders/1"


@pytest.mark.parametrize("name", ["http/server/latency", "http.server.latency"])
def test_metrics_are_named_as_the_view_or_as_shown(name: str) -> None:
    for spelling in (name, "dapr_http_server_latency"):
        rewrite = rewriter([rule(spelling, "path", x="y")])
        assert rewrite is not None
        assert rewrite("dapr_http_server_latency", "path", "y") == "x"


@pytest.mark.parametrize(
    ("value", "replacement", "pattern", "expected"),
    [
        ("/orders/17/items", "/orders/{id}", r"/orders/\d+", "/orders/{id}/items"),
        ("a1b2", "#", r"\d", "a#b#"),
        ("ab", "$2$1", "(a)(b)", "ba"),
        ("ab", "${2}x${1}", "(a)(b)", "bxa"),
        ("ab", "$1x", "(a)", "b"),
        ("ab", "$x", "(?P<x>a)b", "a"),
        ("ab", "${x}!", "(?<x>a)b", "a!"),
        ("ab", "$9$none", "ab", ""),
        ("ab", "$$1", "ab", "$1"),
        ("ab", r"\1\n", "(ab)", r"\1\n"),
        ("nothing", "x", "^something$", "nothing"),
        ("ab", "y", "(?=a)", "yab"),
    ],
)
def test_replacements_are_gos(value: str, replacement: str, pattern: str, expected: str) -> None:
    assert rewritten(value, replacement, pattern) == expected


def test_an_expression_that_is_none() -> None:
    with pytest.raises(MetricsError, match=r'dapr_m: invalid regular expression "\(": '):
        rewriter([rule("m", "path", x="(")])


def test_rewritten_series_are_one() -> None:
    spec = {"rules": [rule("dapr_component_state_count", "component", stores="st.*")]}
    registry = build_registry("a1", spec)
    metrics = SidecarMetrics(registry, "ns")
    metrics.component("state", "st1", "get", True, 1)
    metrics.component("state", "st2", "get", True, 1)
    found = samples(registry)
    [(pairs, value)] = found["dapr_component_state_count"].items()
    assert dict(pairs)["component"] == "stores"
    assert value == 2
    assert len(found["dapr_component_state_latencies_count"]) == 2
