"""Span names and attributes in Dapr's words. Only sampled spans come here."""

from __future__ import annotations

from typing import Any

from dapr_common.grpc.server import Context
from dapr_common.http.messages import Request
from dapr_common.http.url import path_unescape
from dapr_common.observe.tracing import Span

_DB_APIS = frozenset({"state", "secrets", "bindings"})
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


def describe_http(span: Span, request: Request, status: int) -> None:
    """Name and describe the span of an HTTP API call."""
    path = _text(request.path)
    verb = request.method
    given = span.name
    _describe_path(span, verb, path)
    # A handler knows better than the path does.
    span.name = given or span.name or path
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
        if name.startswith(b"dapr-") and not name.endswith(b"-bin"):
            span.set(name.decode("latin-1"), value.decode("latin-1"))


def _describe_path(span: Span, method: str, path: str) -> None:
    segments = path.strip("/").split("/")
    if len(segments) < 3 or not segments[0].startswith("v1"):
        return
    api, name = segments[1], segments[2]
    if api == "invoke" and len(segments) > 4:
        describe_invoke(span, name, "/".join(segments[4:]))
    elif api in _DB_APIS:
        _database(span, api, name, f"{method} {path}")
    elif api == "publish":
        span.set("messaging.system", "pubsub")
    elif api == "actors" and len(segments) > 4:
        _describe_actor(span, segments, f"{method} {path}")


def _describe_actor(span: Span, segments: list[str], statement: str) -> None:
    actor_type, what = segments[2], segments[4]
    actor = f"{actor_type}.{segments[3]}"
    span.set("dapr.actor", actor)
    if what == "method":
        span.name = f"CallActor/{actor_type}/{'/'.join(segments[5:])}"
        span.set("rpc.service", _SERVICE_INVOCATION)
        span.set("net.peer.name", actor)
    elif what == "state":
        _database(span, "state", "actor", statement)


def describe_invoke(span: Span, app_id: str, method: str) -> None:
    """Name and describe the caller's span of a service invocation."""
    span.name = f"CallLocal/{app_id}/{method}"
    span.set("rpc.service", _SERVICE_INVOCATION)
    span.set("net.peer.name", app_id)


def describe_call_local(span: Span, full_method: str, method: str) -> None:
    """Describe the callee's span of a service invocation (``CallLocal/<own app id>/<method>``)."""
    span.set("rpc.service", _SERVICE_INVOCATION)
    span.set("dapr.invoke_method", method)
    span.set("dapr.api", full_method)
    span.set("dapr.protocol", "grpc")


def describe_call_actor(span: Span, full_method: str, actor_type: str, actor_id: str) -> None:
    """Describe the callee's span of an actor call (``CallActor/<type>/<method>``)."""
    span.set("rpc.service", _SERVICE_INVOCATION)
    span.set("dapr.actor", f"{actor_type}.{actor_id}")
    span.set("dapr.api", full_method)
    span.set("dapr.protocol", "grpc")


def describe_delivery(span: Span, topic: str) -> None:
    """Describe the span of a delivery to the app (``pubsub/<topic>``)."""
    span.set("messaging.system", "pubsub")
    span.set("messaging.destination.name", topic)


def describe_binding(span: Span, name: str, route: str) -> None:
    """Describe the span of an input binding's event (``bindings/<name>``)."""
    span.set("rpc.service", "Dapr")
    span.set("db.name", name)
    span.set("db.system", "bindings")
    span.set("db.connection_string", route)


def describe_grpc(span: Span, context: Context) -> None:
    """Describe the span of a gRPC API call by what every call has."""
    span.set("dapr.api", context.method)
    span.set("dapr.protocol", "grpc")
    for name, value in context.metadata:
        if name.startswith("dapr-") and isinstance(value, str):
            span.set(name, value)


def describe_grpc_request(span: Span, full_method: str, request: Any) -> None:
    """Name and describe the span of a gRPC API call by what it asks for."""
    method = full_method.rpartition("/")[2]
    if method == "InvokeService":
        describe_invoke(span, request.id, request.message.method)
    elif method in _GRPC_STORES:
        system, field = _GRPC_STORES[method]
        describe_grpc_store(span, system, getattr(request, field), full_method)
    elif method in _GRPC_PUBLISH:
        span.set("rpc.service", "Dapr")
        describe_delivery(span, request.topic)
    elif method.startswith("Converse"):
        span.set("rpc.system", request.name)


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
