"""Span names and attributes in Dapr's words. Only sampled spans come here."""

from __future__ import annotations

from typing import Any

from dapr_common.grpc.server import Context
from dapr_common.http.messages import Request
from dapr_common.http.url import path_unescape
from dapr_common.observe.tracing import RecordedSpan

_DB_APIS = frozenset({"state", "secrets", "bindings"})
_OWN_SERVICES = ("/dapr.proto.", "/TaskHubSidecarService/")
_TOKEN = b"dapr-api-token"
_SERVICE_INVOCATION = "ServiceInvocation"
# The API's methods that say which component they go to, and the field that names it.
_GRPC_STORES = {
    "GetState": ("state", "store_name"),
    "SaveState": ("state", "store_name"),
    "DeleteState": ("state", "store_name"),
    "GetSecret": ("secrets", "store_name"),
    "InvokeBinding": ("bindings", "name"),
}
_GRPC_PUBLISH = frozenset({"PublishEvent", "BulkPublishEvent", "BulkPublishEventAlpha1"})


def describe_http(span: RecordedSpan, request: Request, status: int) -> None:
    """Name and describe the span of an HTTP API call."""
    path = _text(request.path)
    verb = request.method
    span.name = path
    _describe_path(span, request, path)
    span.set("dapr.api", f"{verb} {path}")
    span.set("dapr.protocol", "http")
    span.set("dapr.status_code", str(status))
    span.set("http.request.method", verb)
    target = request.path.decode("latin-1")
    query = f"?{request.query.decode('latin-1')}" if request.query else ""
    span.set("url.full", target + query)
    host, _, port = request.peer.rpartition(":")
    span.set("server.address", host.strip("[]"))
    span.set("server.port", port)
    for name, value in request.headers:
        if name.startswith(b"dapr-") and not name.endswith(b"-bin") and name != _TOKEN:
            span.set(name.decode("latin-1"), value.decode("latin-1"))


def _describe_path(span: RecordedSpan, request: Request, path: str) -> None:
    segments = [segment for segment in path.split("/") if segment]
    if len(segments) < 3 or not segments[0].startswith("v1"):
        if app_id := request.header(b"dapr-app-id"):
            describe_invoke(span, app_id.decode("latin-1"), path.lstrip("/"))
        return
    api, name = segments[1], segments[2]
    statement = f"{request.method} {path}"
    if api == "invoke":
        app_id_or_url, found, method = path.partition("/invoke/")[2].partition("/method/")
        if found:
            describe_invoke(span, app_id_or_url, method)
    elif api in _DB_APIS:
        _database(span, api, name, statement)
    elif api == "publish":
        span.set("messaging.system", "pubsub")
    elif api == "actors" and len(segments) > 4:
        _describe_actor(span, segments, statement)


def _describe_actor(span: RecordedSpan, segments: list[str], statement: str) -> None:
    actor_type, what = segments[2], segments[4]
    actor = f"{actor_type}.{segments[3]}"
    span.set("dapr.actor", actor)
    if what == "method":
        span.name = f"CallActor/{actor_type}/{'/'.join(segments[5:])}"
        span.set("rpc.service", _SERVICE_INVOCATION)
        span.set("net.peer.name", actor)
    elif what == "state":
        _database(span, "state", "actor", statement)


def describe_invoke(span: RecordedSpan, app_id: str, method: str) -> None:
    """Name and describe the caller's span of a service invocation."""
    span.name = f"CallLocal/{app_id}/{method}"
    span.set("rpc.service", _SERVICE_INVOCATION)
    span.set("net.peer.name", app_id)


def describe_grpc(span: RecordedSpan, context: Context) -> None:
    """Describe the span of a gRPC call by what every call has; a proxied one has no more."""
    if context.method.startswith(_OWN_SERVICES):
        span.set("dapr.api", context.method)
        span.set("dapr.protocol", "grpc")
    for name, value in context.metadata:
        if name.startswith("dapr-") and isinstance(value, str) and name != "dapr-api-token":
            span.set(name, value)


def describe_grpc_request(span: RecordedSpan, full_method: str, request: Any) -> None:
    """Name and describe the span of a gRPC API call by what it asks for."""
    method = full_method.rpartition("/")[2]
    if method == "InvokeService":
        describe_invoke(span, request.id, request.message.method)
    elif method in _GRPC_STORES:
        system, field = _GRPC_STORES[method]
        span.set("rpc.service", "Dapr")
        _database(span, system, getattr(request, field), full_method)
    elif method in _GRPC_PUBLISH:
        span.set("rpc.service", "Dapr")
        span.set("messaging.system", "pubsub")
        span.set("messaging.destination.name", request.topic)
    elif method.startswith("Converse"):
        span.set("rpc.system", request.name)


def _database(span: RecordedSpan, system: str, name: str, statement: str) -> None:
    span.set("db.system", system)
    span.set("db.name", name)
    span.set("db.statement", statement)
    span.set("db.connection_string", system)


def _text(path: bytes) -> str:
    try:
        return path_unescape(path)
    except ValueError:
        return path.decode("latin-1")
