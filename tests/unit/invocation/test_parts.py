"""What the runtime starts: internal listener and name resolver."""

from __future__ import annotations

import pytest

from dapr_common.observe.metrics import Registry
from dapr_common.observe.tracing import Tracer
from dapr_sidecar.blocks.access_control import AccessControlError
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.identity import SidecarIdentity
from dapr_sidecar.options import Options, read
from dapr_sidecar.resiliency.policy import LoadedPolicies
from dapr_sidecar.runtime.invocation import InvocationParts
from dapr_sidecar.telemetry.grpc_server import GrpcServerTelemetry
from dapr_sidecar.telemetry.metrics import SidecarMetrics


def parts(spec: dict[str, object]) -> InvocationParts:
    options = read(["--app-id", "a1", "--dapr-internal-grpc-listen-address", "127.0.0.1"], {})
    assert isinstance(options, Options)
    identity = SidecarIdentity("a1", "", "default", "10.9.9.1", "vm")
    metrics = SidecarMetrics(Registry(), "default", (1.0,))
    tracer = Tracer(0)
    context = SidecarContext(identity, LoadedPolicies(), metrics, tracer, configuration=spec)
    return InvocationParts(context, options, GrpcServerTelemetry(tracer, None, (1.0,)))


async def test_a_resolver_that_is_not_there_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    made = parts({"nameResolution": {"component": "nope"}})
    await made.listen()
    await made.start()
    assert made.block.ready
    assert made.block.book.resolver is None
    assert "couldn't find name resolver nameresolution.nope/v1" in caplog.text
    assert made.block.context.identity.internal_port > 0
    await made.close()
    await made.internal.server.close(0)


async def test_configured_resolver_with_its_settings() -> None:
    made = parts(
        {"nameResolution": {"component": "nameformat", "configuration": {"format": "{appid}:1"}}}
    )
    await made.start()
    assert await made.block.book.find("x", "default") == "x:1"
    await made.close()


def test_wrong_rules_are_told_at_the_start() -> None:
    with pytest.raises(AccessControlError, match="misses 'namespace'"):
        parts({"accessControl": {"policies": [{"appId": "x"}]}})
