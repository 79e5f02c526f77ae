"""What a Configuration changes in a sidecar that serves: telemetry, names, servers."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

import pytest

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.errors import RpcError
from dapr_common.kube.resources import Configuration
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_sidecar.blocks.access_control import AccessControlError
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.nameresolution.base import Instance, Resolver
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.options import Options, read
from dapr_sidecar.resiliency.policy import LoadedPolicies
from dapr_sidecar.runtime.invocation import InvocationParts
from dapr_sidecar.runtime.live_telemetry import LiveTelemetry
from dapr_sidecar.runtime.naming import Naming
from dapr_sidecar.runtime.telemetry import Telemetry


def options(*more: str) -> Options:
    found = read(["--app-id=a", *more], {})
    assert isinstance(found, Options)
    return found


def telemetry(before: Telemetry | None = None, **spec: Any) -> Telemetry:
    return Telemetry(options(), Configuration("c", spec), "ns", {}, before)


def test_counters_go_on_where_metrics_stay_as_they_were() -> None:
    first = telemetry()
    second = telemetry(first, tracing={"samplingRate": "1", "stdout": True})
    assert second.metrics is first.metrics
    assert second.tracing is not first.tracing
    third = telemetry(second, tracing={"samplingRate": "1", "stdout": True}, metrics={"enabled": 0})
    assert third.tracing is second.tracing
    assert third.metrics is not second.metrics


async def test_whoever_kept_a_reporter_counts_where_the_others_do() -> None:
    live = LiveTelemetry(telemetry())
    count, metrics, report = live.metrics.grpc_client, live.metrics, live.resiliency
    report.loaded("policy", "ns")
    live.swap(telemetry(live.now, metrics={"latencyDistributionBuckets": [7]}))
    count("/m", GrpcCode.OK, 1.0, 2, 3)
    metrics.health_probe("http", "200", 1.0)
    report.executed("retry", "outbound", "t")
    live.rotated()
    shown = live.registry.render().decode()
    assert 'dapr_grpc_io_client_completed_rpcs{app_id="a",grpc_client_method="/m"' in shown
    assert "dapr_http_healthprobes_completed_count" in shown
    assert 'le="7"' in shown
    assert 'name="policy"' in shown
    assert "dapr_runtime_mtls_workload_cert_rotated_total" in shown
    await live.close()


async def test_spans_that_are_lost_are_counted_where_the_others_are() -> None:
    stdout = {"samplingRate": "1", "stdout": True}
    live = LiveTelemetry(telemetry(tracing=stdout))

    def lost() -> float:
        (line,) = re.findall(
            r'dapr_runtime_trace_spans_lost_total{app_id="a",exporter="stdout"} (.*)',
            live.registry.render().decode(),
        )
        return float(line)

    assert lost() == 0
    first = live.now.tracing
    live.swap(telemetry(live.now, tracing=stdout, metrics={"latencyDistributionBuckets": [7]}))
    assert live.now.tracing is first
    assert lost() == 0, "other metrics know of the exporter"
    live.swap(telemetry(live.now, tracing={**stdout, "samplingRate": "0.5"}))
    first._batches[0]._lose(3)  # one that is on its way out
    live.now.tracing._batches[0]._lose(4)
    assert lost() == 7
    await live.close()


async def test_other_rules_of_access_under_an_open_connection() -> None:
    now = telemetry()
    context = SidecarContext(
        SidecarIdentity("a", "", "default", "10.0.0.1", "vm"),
        LoadedPolicies(),
        now.metrics,
        now.tracing.tracer,
    )
    parts = InvocationParts(
        context, options("--dapr-internal-grpc-listen-address=127.0.0.1"), now.grpc
    )
    await parts.listen()
    channel = GrpcChannel(f"127.0.0.1:{context.identity.internal_port}")
    call = internals.InternalInvokeRequest(ver=1)
    call.message.method = "m"

    async def outcome() -> str:
        method = "/dapr.proto.internals.v1.ServiceInvocation/CallLocal"
        with pytest.raises(RpcError) as caught:
            await channel.unary(method, call, timeout=20)
        return caught.value.message

    assert await outcome() == "app channel is not initialized"
    rules = {"accessControl": {"defaultAction": "deny"}}
    parts.apply(parts.prepare(rules, now.grpc, now.metrics))
    assert "access control policy has denied access" in await outcome()
    with pytest.raises(AccessControlError):
        parts.prepare({"accessControl": {"policies": [{}]}}, now.grpc, now.metrics)
    assert "access control policy has denied access" in await outcome()
    parts.apply(parts.prepare({}, now.grpc, now.metrics))
    assert await outcome() == "app channel is not initialized"
    await channel.close()
    await parts.close()
    await parts.internal.server.close(0)


@dataclass
class NoSettings:
    """A resolver of these tests has none."""


class Recorded(Resolver):
    """Writes down what is done to it."""

    def __init__(self, name: str, told: list[str]) -> None:
        super().__init__(None, ComponentContext(name, "a"))
        self.name = name
        self._told = told

    async def open(self) -> None:
        if self.name == "bad":
            raise OSError("no such registry")

    async def register(self, instance: Instance) -> None:
        self._told.append(f"{self.name} registered")

    async def withdraw(self) -> None:
        self._told.append(f"{self.name} withdrawn")

    async def resolve(self, app_id: str, namespace: str, port: int) -> str:
        return self.name


async def test_another_resolver_takes_over_and_one_that_fails_does_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    class Kind:
        settings = NoSettings

        def __init__(self, kind: str) -> None:
            self._name = kind.removeprefix("nameresolution.")

        def __call__(self, settings: object, context: object) -> Recorded:
            return Recorded(self._name, told)

    def found(kind: str, version: str) -> Any:
        return Kind(kind)

    monkeypatch.setattr("dapr_sidecar.runtime.naming.component_class", found)
    caplog.set_level(logging.ERROR)
    naming = Naming(SidecarIdentity("a", "", "default", "10.0.0.1", "vm"), options())

    await naming.start({"component": "one"})
    assert await naming.change({"component": "one"}) is None
    before = await naming.change({"component": "two"})
    assert isinstance(before, Recorded)
    assert before.name == "one"
    assert await naming.change({"component": "bad"}) is None
    assert naming.resolver is not None
    assert await naming.resolver.resolve("x", "", 1) == "two"
    assert "name resolution is not changed: no such registry" in caplog.text
    assert told == [
        "one registered",
        "one withdrawn",
        "two registered",
        "two withdrawn",
        "two registered",
    ]
