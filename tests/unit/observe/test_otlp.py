from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
import trustme
from harness.http_collector import HttpCollector
from harness.spans import finished_spans
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.trace.v1 import trace_pb2

from dapr_common.observe.exporters.base import ExportError
from dapr_common.observe.exporters.otlp import (
    OtlpGrpcExporter,
    OtlpHttpExporter,
    grpc_target,
    http_url,
)

RESOURCE = {"service.name": "orders", "team": "blue"}


def check(raw: bytes) -> None:
    """The spans of ``finished_spans``, as OTLP has them."""
    request = service.ExportTraceServiceRequest.FromString(raw)
    [resource] = request.resource_spans
    assert {a.key: a.value.string_value for a in resource.resource.attributes} == RESOURCE
    [scope] = resource.scope_spans
    assert scope.scope.name == "dapr-diagnostics"
    child, root = scope.spans
    assert (child.name, child.kind) == ("CallLocal/A1/M", trace_pb2.Span.SPAN_KIND_SERVER)
    assert (root.name, root.kind) == ("/v1.0/State/St", trace_pb2.Span.SPAN_KIND_CLIENT)
    assert child.trace_id == root.trace_id
    assert len(child.trace_id) == 16
    assert child.parent_span_id == root.span_id
    assert len(child.span_id) == 8
    assert root.parent_span_id == b""
    assert child.trace_state == "a=b"
    assert child.flags == 1
    assert 0 < child.start_time_unix_nano <= child.end_time_unix_nano
    assert {a.key: a.value.string_value for a in child.attributes} == {
        "server.address": "10.0.0.1",
        "dapr.api": "GET /v1.0/State/St",
    }
    assert [event.name for event in child.events] == ["resiliency.retry"]
    assert child.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    assert child.status.message == "Code(404): Not Found"
    assert root.status.code == trace_pb2.Status.STATUS_CODE_UNSET


# --- HTTP ---------------------------------------------------------------------------------------


async def test_over_http(collector: HttpCollector) -> None:
    headers = [("X-Key", "k1")]
    otlp = OtlpHttpExporter(f"127.0.0.1:{collector.port}", RESOURCE, secure=False, headers=headers)
    await otlp.export(finished_spans())
    await otlp.close()
    [posted] = collector.posted
    assert posted.path == "/v1/traces"
    assert posted.headers["content-type"] == "application/x-protobuf"
    assert posted.headers["x-key"] == "k1"
    check(posted.body)
    assert otlp.name == f"otlp http://127.0.0.1:{collector.port}/v1/traces"


@pytest.mark.parametrize(
    ("status", "transient"), [(429, True), (502, True), (503, True), (504, True), (400, False)]
)
async def test_what_may_be_sent_again_over_http(
    collector: HttpCollector, status: int, transient: bool
) -> None:
    collector.answers = [(status, b"")]
    otlp = OtlpHttpExporter(f"127.0.0.1:{collector.port}", RESOURCE, secure=False)
    with pytest.raises(ExportError) as failed:
        await otlp.export(finished_spans())
    assert failed.value.transient is transient
    await otlp.close()


@pytest.mark.parametrize(
    ("endpoint", "secure", "url"),
    [
        ("otel:4318", False, "http://otel:4318/v1/traces"),
        ("otel:4318", True, "https://otel:4318/v1/traces"),
        ("otel:4318/", True, "https://otel:4318/v1/traces"),
        ("otel/prefix", True, "https://otel/prefix/v1/traces"),
        ("otel:4318/v1/traces", False, "http://otel:4318/v1/traces"),
    ],
)
def test_where_http_goes(endpoint: str, secure: bool, url: str) -> None:
    assert http_url(endpoint, secure=secure) == url


# --- gRPC ---------------------------------------------------------------------------------------


class GrpcCollector:
    """A ``TraceService`` of the official gRPC library."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, dict[str, str]]] = []
        self.refuse: grpc.StatusCode | None = None
        self.port = 0

    async def export(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        metadata = {str(name): str(value) for name, value in context.invocation_metadata() or ()}
        self.requests.append((request, metadata))
        if self.refuse is not None:
            await context.abort(self.refuse, "not now")
        return b""

    def server(self) -> grpc.aio.Server:
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(self.export)
        name = "opentelemetry.proto.collector.trace.v1.TraceService"
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {"Export": handler}),)
        )
        return server


@pytest.fixture
async def grpc_collector() -> AsyncIterator[GrpcCollector]:
    collector = GrpcCollector()
    server = collector.server()
    collector.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield collector
    await server.stop(None)


async def test_over_grpc(grpc_collector: GrpcCollector) -> None:
    otlp = OtlpGrpcExporter(
        f"127.0.0.1:{grpc_collector.port}", RESOURCE, secure=False, headers=[("X-Key", "k1")]
    )
    await otlp.export(finished_spans())
    await otlp.export(finished_spans())
    await otlp.close()
    [(raw, metadata), _] = grpc_collector.requests
    check(raw)
    assert metadata["x-key"] == "k1"


@pytest.mark.parametrize(
    ("code", "transient"),
    [
        (grpc.StatusCode.UNAVAILABLE, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, True),
        (grpc.StatusCode.INVALID_ARGUMENT, False),
        (grpc.StatusCode.UNAUTHENTICATED, False),
    ],
)
async def test_what_may_be_sent_again_over_grpc(
    grpc_collector: GrpcCollector, code: grpc.StatusCode, transient: bool
) -> None:
    grpc_collector.refuse = code
    otlp = OtlpGrpcExporter(f"127.0.0.1:{grpc_collector.port}", RESOURCE, secure=False)
    with pytest.raises(ExportError, match="not now") as failed:
        await otlp.export(finished_spans())
    assert failed.value.transient is transient
    await otlp.close()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[trustme.CA]:
    """A certificate authority that this process trusts."""
    found = trustme.CA()
    file = tmp_path / "ca.pem"
    found.cert_pem.write_to_path(file)
    monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(file))
    return found


async def test_over_grpc_with_tls(authority: trustme.CA) -> None:
    collector = GrpcCollector()
    server = collector.server()
    certificate = authority.issue_cert("127.0.0.1")
    key = certificate.private_key_pem.bytes()
    chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    await server.start()
    otlp = OtlpGrpcExporter(f"127.0.0.1:{port}", RESOURCE)
    await otlp.export(finished_spans())
    await otlp.close()
    await server.stop(None)
    check(collector.requests[0][0])


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [("otel:4317", "otel:4317"), ("otel", "otel:443"), ("[::1]:4317", "[::1]:4317")],
)
def test_where_grpc_goes(endpoint: str, target: str) -> None:
    assert grpc_target(endpoint) == target


@pytest.mark.parametrize("endpoint", ["", ":4317", "otel:port"])
def test_what_is_no_endpoint(endpoint: str) -> None:
    with pytest.raises(ValueError):
        OtlpGrpcExporter(endpoint, RESOURCE)
