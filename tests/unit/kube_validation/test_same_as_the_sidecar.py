"""What admission refuses of a Configuration is what no sidecar would start with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from dapr_common.kube.resources import Configuration
from dapr_sidecar.blocks.access_control import AccessControlError, build
from dapr_sidecar.runtime.configuration import ConfigurationError, checked
from dapr_sidecar.telemetry.base import MetricsError
from dapr_sidecar.telemetry.metrics import latency_bounds
from dapr_sidecar.telemetry.rules import rewriter
from dapr_sidecar.telemetry.tracing import TracingError, build_tracing

USABLE = (
    "{}",
    "metrics: {rules: [{name: m, labels: [{name: l, regex: {'/o/{id}': '/o/(?<id>.+)'}}]}]}",
    "metrics: {latencyDistributionBuckets: [5, 1]}",
    "tracing: {otel: {endpointAddress: 'c:1', isSecure: false, protocol: grpc, timeout: '500'}}",
    "tracing: {otel: {endpointAddress: 'c:1', isSecure: false, protocol: http, timeout: 1m}}",
    "tracing: {otel: {endpointAddress: 'c:1', headers: [a=b, 'c=d=e']}}",
    "tracing: {otel: {endpointAddress: 'c:1', headers: 'a=b,c=d'}}",
    "tracing: {otel: {endpointAddress: 'c:1', headers: [{name: a, value: b}]}}",
    "tracing: {samplingRate: '1', zipkin: {endpointAddress: 'http://z:9411/api/v2/spans'}}",
    "accessControl: {defaultAction: deny, policies: []}",
    "accessControl: {policies: [{appId: a, namespace: n, trustDomain: t}]}",
    "secrets: {scopes: [{storeName: a, allowedSecrets: [x], deniedSecrets: [y]}]}",
)
USELESS = (
    "metrics: {rules: [{name: m, labels: [{name: l, regex: {a: '('}}]}]}",
    "tracing: {otel: {endpointAddress: 'c:1', isSecure: false, protocol: udp}}",
    "tracing: {otel: {endpointAddress: 'c:1', isSecure: false, protocol: grpc, timeout: soon}}",
    "tracing: {otel: {endpointAddress: 'c:1', headers: [[a]]}}",
    "tracing: {otel: {endpointAddress: 'c:1', headers: {a: b}}}",
    "tracing: {samplingRate: '1', zipkin: {endpointAddress: nowhere}}",
    "accessControl: {policies: [{namespace: n, trustDomain: t}]}",
    "accessControl: {policies: [{appId: a, trustDomain: t}]}",
    "accessControl: {policies: [{appId: a, namespace: n}]}",
    "secrets: {scopes: [{storeName: a}, {storeName: a}]}",
    "accessControl: {policies: {appId: a}}",
)


def start(text: str) -> None:
    """Read it as a sidecar does when it starts."""
    spec: Any = checked(Configuration("it", yaml.safe_load(text))).spec
    for section in (spec["metric"], spec["metrics"]):
        rewriter(section.get("rules") or [])
        latency_bounds(section)
    build_tracing(spec["tracing"], {}, "app")
    build(spec["accessControl"], http=True)


@pytest.mark.parametrize("text", USABLE)
def test_what_a_sidecar_starts_with_is_let_in(text: str, said: Callable[..., list[str]]) -> None:
    start(text)
    assert [one for one in said("Configuration", text) if not one.startswith("warning")] == []


@pytest.mark.parametrize("text", USELESS)
def test_what_ends_a_start_is_refused(text: str, said: Callable[..., list[str]]) -> None:
    refusals = (ConfigurationError, AccessControlError, MetricsError, TracingError)
    with pytest.raises(refusals):
        start(text)
    assert [one for one in said("Configuration", text) if not one.startswith("warning")]
