"""Headers between HTTP, gRPC and the metadata of internal messages.

All pairs here have lower-case names; ``-bin`` values are base64 text.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence

from dapr_common.http.headers import HOP_BY_HOP, canonical
from dapr_common.http.messages import Header
from dapr_common.observe.tracing import (
    Span,
    SpanContext,
    current_span,
    parse_grpc_trace_bin,
)

_TRACE = frozenset({b"traceparent", b"tracestate", b"grpc-trace-bin"})
_DROPPED = HOP_BY_HOP | _TRACE | {b"destination-app-id", b"content-type", b"content-length"}
_REQUEST_DROPPED = _DROPPED | {b"host"}
# The sidecar's own server writes the date of its answer.
_RESPONSE_DROPPED = _DROPPED | {b"date"}
_PSEUDO = {
    b":method": b"dapr-method",
    b":scheme": b"dapr-scheme",
    b":path": b"dapr-path",
    b":authority": b"dapr-authority",
}
# Permanent HTTP headers, which gRPC metadata carries with a prefix.
_PERMANENT = frozenset(
    b"accept,accept-charset,accept-language,accept-ranges,connection,keep-alive,proxy-connection,"
    b"transfer-encoding,upgrade,cache-control,content-type,content-length,cookie,date,expect,from,"
    b"host,if-match,if-modified-since,if-none-match,if-schedule-tag-match,if-unmodified-since,"
    b"max-forwards,origin,pragma,referer,via,warning".split(b",")
)
Metadata = list[tuple[str, str | bytes]]


def request_headers(
    pairs: Sequence[Header], content_type: str, *, from_grpc: bool = False
) -> list[Header]:
    """What an HTTP app gets of a call's metadata, trace context included."""
    headers = _http_headers(pairs, _REQUEST_DROPPED)
    if content_type:
        headers.append((b"Content-Type", content_type.encode("utf-8", "replace")))
    _add_trace(headers, pairs, from_grpc)
    return headers


def response_headers(pairs: Sequence[Header]) -> list[Header]:
    """What an HTTP client gets of an answer's headers."""
    return _http_headers(pairs, _RESPONSE_DROPPED)


def _http_headers(pairs: Sequence[Header], dropped: frozenset[bytes]) -> list[Header]:
    headers: list[Header] = []
    named: set[bytes] | None = None
    baggage = False
    for name, value in pairs:
        if name in dropped:
            if name == b"connection":
                named = named or set()
                named.update(token.strip().lower() for token in value.split(b","))
            continue
        if name[-4:] == b"-bin":
            continue
        if name == b"baggage":
            if baggage:
                continue
            baggage = True
        elif name[:1] == b":":
            name = _PSEUDO.get(name, b"dapr-" + name[1:])
        elif name[:5] == b"grpc-":
            name = b"dapr-" + name
        headers.append((canonical(name), value))
    if named:
        return [pair for pair in headers if pair[0].lower() not in named]
    return headers


def _add_trace(headers: list[Header], pairs: Sequence[Header], from_grpc: bool) -> None:
    span = current_span.get()
    context = span.context if span is not None else _binary_context(pairs) if from_grpc else None
    if context is None:
        for name, value in pairs:
            if name == b"traceparent" or name == b"tracestate":
                headers.append((canonical(name), value))
        return
    headers.append((b"Traceparent", context.traceparent.encode()))
    if context.tracestate:
        headers.append((b"Tracestate", context.tracestate.encode("latin-1", "replace")))


def _binary_context(pairs: Iterable[Header]) -> SpanContext | None:
    for name, value in pairs:
        if name == b"grpc-trace-bin":
            try:
                return parse_grpc_trace_bin(b64decode(value + b"=" * (-len(value) % 4)))
            except Base64Error:
                return None
    return None


def grpc_metadata(pairs: Iterable[Header], *, from_grpc: bool) -> Metadata:
    """What a gRPC app, or a client of InvokeService, gets; no trace context.

    Permanent HTTP headers get a prefix when the call came in over HTTP.
    """
    metadata: Metadata = []
    for name, value in pairs:
        if name in _TRACE or name == b"destination-app-id" or name[:1] == b":":
            continue
        if name in _PERMANENT and not from_grpc:
            name = b"dapr-" + name
        key = name.decode("latin-1")
        if key.endswith("-bin"):
            try:
                metadata.append((key, b64decode(value + b"=" * (-len(value) % 4))))
            except Base64Error:
                continue
        else:
            metadata.append((key, value.decode("utf-8", "replace")))
    return metadata


def with_trace(metadata: Metadata) -> Metadata:
    """Add the current span, in both forms a gRPC app may read."""
    if (span := current_span.get()) is not None:
        metadata += trace_metadata(span)
    return metadata


def trace_metadata(span: Span) -> Metadata:
    """A span as gRPC metadata; nothing when there is no trace."""
    context = span.context
    if not context.valid:
        return []
    found: Metadata = [
        ("grpc-trace-bin", context.grpc_trace_bin),
        ("traceparent", context.traceparent),
    ]
    if context.tracestate:
        found.append(("tracestate", context.tracestate))
    return found


def pairs_from_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> list[Header]:
    """gRPC metadata as pairs."""
    return [
        (
            name.encode("latin-1", "replace"),
            b64encode(value) if isinstance(value, bytes) else value.encode("utf-8", "replace"),
        )
        for name, value in metadata
    ]
