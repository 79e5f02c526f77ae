"""Span names and attributes of API calls, in Dapr's words. Only sampled spans come here."""

from __future__ import annotations

from dapr_common.grpc.server import Context
from dapr_common.http.messages import Request
from dapr_common.http.url import path_unescape
from dapr_common.observe.tracing import Span

_DB_APIS = frozenset({"state", "secrets", "bindings"})


def describe_http(span: Span, request: Request, status: int) -> None:
    """Name and describe the span of an HTTP API call."""
    path = _text(request.path)
    span.name = span.name or path
    span.set("dapr.api", f"{request.method} {path}")
    span.set("dapr.protocol", "http")
    span.set("dapr.status_code", str(status))
    span.set("http.request.method", request.method)
    query = f"?{request.query.decode('latin-1')}" if request.query else ""
    span.set("url.full", path + query)
    host, _, port = request.peer.rpartition(":")
    span.set("server.address", host)
    span.set("server.port", port)
    for name, value in request.headers:
        if name.startswith(b"dapr-") and not name.endswith(b"-bin"):
            span.set(name.decode("latin-1"), value.decode("latin-1"))
    _describe_path(span, request.method, path)


def _describe_path(span: Span, method: str, path: str) -> None:
    segments = path.strip("/").split("/")
    if len(segments) < 3 or not segments[0].startswith("v"):
        return
    api, name = segments[1], segments[2]
    if api == "invoke" and len(segments) > 4:
        span.name = f"CallLocal/{name}/{'/'.join(segments[4:])}"
        span.set("rpc.service", "ServiceInvocation")
        span.set("net.peer.name", name)
    elif api in _DB_APIS:
        _database(span, api, name, f"{method} {path}")
    elif api == "publish":
        span.set("messaging.system", "pubsub")
    elif api == "actors" and len(segments) > 4:
        actor = f"{name}.{segments[3]}"
        span.set("dapr.actor", actor)
        if segments[4] == "method":
            span.name = f"CallActor/{name}/{'/'.join(segments[5:])}"
            span.set("rpc.service", "ServiceInvocation")
            span.set("net.peer.name", actor)
        elif segments[4] == "state":
            _database(span, "state", "actor", f"{method} {path}")


def describe_grpc(span: Span, context: Context) -> None:
    """Describe the span of a gRPC API call."""
    span.set("dapr.api", context.method)
    span.set("dapr.protocol", "grpc")
    for name, value in context.metadata:
        if name.startswith("dapr-") and isinstance(value, str):
            span.set(name, value)


def describe_grpc_store(span: Span, system: str, name: str, method: str) -> None:
    """Add what is known of the component a gRPC call goes to."""
    span.set("rpc.service", "Dapr")
    _database(span, system, name, method)


def _database(span: Span, system: str, name: str, statement: str) -> None:
    span.set("db.system", system)
    span.set("db.name", name)
    span.set("db.statement", statement)
    span.set("db.connection_string", system)


def _text(path: bytes) -> str:
    try:
        return path_unescape(path)
    except ValueError:
        return path.decode("latin-1")
