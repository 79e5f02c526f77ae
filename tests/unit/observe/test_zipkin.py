from __future__ import annotations

import json
import socket

import pytest
from harness.http_collector import HttpCollector
from harness.spans import finished_spans

from dapr_common.observe.exporters.base import ExportError
from dapr_common.observe.exporters.zipkin import ZipkinExporter

RESOURCE = {"service.name": "orders", "team": "blue"}


def exporter(collector: HttpCollector) -> ZipkinExporter:
    return ZipkinExporter(f"http://127.0.0.1:{collector.port}/api/v2/spans?key=s3cret", RESOURCE)


async def test_spans_in_version_2(collector: HttpCollector) -> None:
    spans = finished_spans()
    child, root = spans
    zipkin = exporter(collector)
    await zipkin.export(spans)
    await zipkin.close()
    [posted] = collector.posted
    assert posted.path == "/api/v2/spans?key=s3cret"
    assert posted.headers["content-type"] == "application/json"
    [first, second] = json.loads(posted.body)
    annotations = first.pop("annotations")
    assert [entry["value"] for entry in annotations] == ["resiliency.retry"]
    assert child.start_ns // 1000 <= annotations[0]["timestamp"] <= child.end_ns // 1000
    assert first == {
        "traceId": root.context.trace_id,
        "id": child.context.span_id,
        "parentId": root.context.span_id,
        "name": "calllocal/a1/m",
        "kind": "SERVER",
        "timestamp": child.start_ns // 1000,
        "duration": max((child.end_ns - child.start_ns) // 1000, 1),
        "localEndpoint": {"serviceName": "orders"},
        "remoteEndpoint": {"serviceName": "10.0.0.1"},
        "tags": {
            "service.name": "orders",
            "team": "blue",
            "server.address": "10.0.0.1",
            "dapr.api": "GET /v1.0/State/St",
            "otel.scope.name": "dapr-diagnostics",
            "error": "Code(404): Not Found",
            "otel.status_code": "ERROR",
        },
    }
    assert second["kind"] == "CLIENT"
    for absent in ("parentId", "remoteEndpoint", "annotations"):
        assert absent not in second
    assert second["tags"] == RESOURCE | {"otel.scope.name": "dapr-diagnostics"}


async def test_a_refusal_says_what_the_collector_said(collector: HttpCollector) -> None:
    collector.answers = [(400, b"bad spans"), (503, b"")]
    zipkin = exporter(collector)
    with pytest.raises(ExportError, match="status 400 bad spans") as refused:
        await zipkin.export(finished_spans())
    assert not refused.value.transient
    with pytest.raises(ExportError, match=r"status 503$") as overloaded:
        await zipkin.export(finished_spans())
    assert overloaded.value.transient
    await zipkin.close()


async def test_a_collector_that_is_away() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        zipkin = ZipkinExporter(f"http://127.0.0.1:{unused.getsockname()[1]}/", RESOURCE)
        with pytest.raises(ExportError) as away:
            await zipkin.export(finished_spans())
    assert away.value.transient
    await zipkin.close()


def test_log_lines_show_no_credentials() -> None:
    zipkin = ZipkinExporter("https://user:s3cret@zipkin:9411/api?token=s3cret#s3cret", RESOURCE)
    assert zipkin.name == "zipkin https://zipkin:9411/api"


@pytest.mark.parametrize("url", ["", "zipkin:9411", "ftp://zipkin/x", "http://", "/api/v2/spans"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match="expected http://host:port/path"):
        ZipkinExporter(url, RESOURCE)


def test_a_wrong_url_is_told_without_its_credentials() -> None:
    with pytest.raises(ValueError, match="invalid URL") as wrong:
        ZipkinExporter("ftp://user:s3cret@zipkin/x?k=s3cret", RESOURCE)
    assert "s3cret" not in str(wrong.value)
