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
    NO_CONTEXT,
    Span,
    SpanContext,
    current_span,
    parse_grpc_trace_bin,
    parse_traceparent,
)

_TRACE = frozenset({b"traceparent", b"tracestate", b"grpc-trace-bin"})
_DROPPED = HOP_BY_HOP | _TRACE | {b"destination-app-id", b"content-type", b"content-length"}
# What needs a look at the value, or at the other headers.
_RARE = frozenset({b"connection", b"baggage", b"date", b"traceparent", b"tracestate"})
# What sidecars say of a call: no client can have it left out by naming it in ``Connection``.
_SAID_BY_SIDECARS = frozenset(
    {b"dapr-caller-app-id", b"dapr-caller-namespace", b"dapr-callee-app-id"}
    | {b"dapr-api-call", b"x-dapr-remote"}
    | {b"x-forwarded-for", b"x-forwarded-host", b"forwarded"}
)
_KNOWN_LIMIT, _LONGEST_KNOWN = 1024, 128
_known_requests: dict[bytes, bytes] = {b"host": b""}
_known_responses: dict[bytes, bytes] = {}
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
_NOT_METADATA = _TRACE | {b"destination-app-id", b"transfer-encoding"}
Metadata = list[tuple[str, str | bytes]]


def request_headers(
    pairs: Sequence[Header], content_type: str, *, from_grpc: bool = False
) -> list[Header]:
    """What an HTTP app gets of a call's metadata, trace context included."""
    headers, rare = _spelled(pairs, _known_requests)
    if rare:
        headers = _with_rare(headers, rare)
    if content_type:
        headers.append((b"Content-Type", content_type.encode("utf-8", "replace")))
    _add_trace(headers, pairs, rare, from_grpc)
    return headers


def response_headers(pairs: Sequence[Header]) -> tuple[list[Header], bool]:
    """What an HTTP client gets of an answer's headers, and whether the app's date is there."""
    headers, rare = _spelled(pairs, _known_responses)
    if len(rare) == 1 and rare[0][0] == b"date":
        headers.append((b"Date", rare[0][1]))
        return headers, True
    if not rare:
        return headers, False
    return _with_rare(headers, rare), any(name == b"date" for name, _ in rare)


def _spelled(
    pairs: Sequence[Header], known: dict[bytes, bytes]
) -> tuple[list[Header], list[Header]]:
    """Headers as HTTP writes them without what is not passed on, and the rare ones as they are.

    ``known`` keeps the spelling of names, nothing for those that are dropped.
    """
    headers: list[Header] = []
    rare: list[Header] = []
    for pair in pairs:
        name = pair[0]
        spelled = known.get(name)
        if spelled is None:
            if name in _RARE:
                rare.append(pair)
                continue
            spelled = _spelling(name)
            if len(known) < _KNOWN_LIMIT and len(name) <= _LONGEST_KNOWN:
                known[name] = spelled
        if spelled:
            headers.append((spelled, pair[1]))
    return headers, rare


def _spelling(name: bytes) -> bytes:
    if name in _DROPPED or name[-4:] == b"-bin":
        return b""
    if name[:1] == b":":
        return canonical(_PSEUDO.get(name, b"dapr-" + name[1:]))
    if name[:5] == b"grpc-":
        return canonical(b"dapr-" + name)
    return canonical(name)


def _with_rare(headers: list[Header], rare: list[Header]) -> list[Header]:
    """One baggage and one date added, and what ``Connection`` names removed."""
    named: set[bytes] = set()
    once: dict[bytes, bytes] = {}
    for name, value in rare:
        if name == b"connection":
            named.update(token.strip().lower() for token in value.split(b","))
        elif name not in _TRACE:
            once.setdefault(name, value)
    headers += [(canonical(name), value) for name, value in once.items()]
    if named := named - _SAID_BY_SIDECARS:
        return [pair for pair in headers if pair[0].lower() not in named]
    return headers


def _add_trace(
    headers: list[Header], pairs: Sequence[Header], rare: list[Header], from_grpc: bool
) -> None:
    """The running span; without one, the trace context that came with the call."""
    span = current_span.get()
    context = None if span is None else span.context
    if context is None or context is NO_CONTEXT:
        found = _binary_context(pairs) if from_grpc else None
        if found is None and (given := [pair for pair in rare if pair[0] in _TRACE]):
            headers += [(canonical(name), value) for name, value in given]
            return
        context = found or context
    if context is not None:
        headers.append((b"Traceparent", context.traceparent.encode()))
        state = context.tracestate.encode("latin-1", "replace")
        if not state and rare:
            # The binary form, in which spans travel between sidecars, has no room for it.
            state = next((value for name, value in rare if name == b"tracestate"), b"")
        if state:
            headers.append((b"Tracestate", state))


def _binary_context(pairs: Iterable[Header]) -> SpanContext | None:
    for name, value in pairs:
        if name == b"grpc-trace-bin":
            try:
                return parse_grpc_trace_bin(b64decode(value + b"=" * (-len(value) % 4)))
            except Base64Error:
                return None
    return None


def app_metadata(pairs: Sequence[Header], *, from_grpc: bool) -> Metadata:
    """What a gRPC app gets of a call's metadata, trace context included."""
    metadata = grpc_metadata(pairs, from_grpc=from_grpc)
    span = current_span.get()
    given = {name: value for name, value in pairs if name in _TRACE}
    context = None if span is None or not span.context.valid else span.context
    if context is None and given:
        context = _binary_context(pairs) or parse_traceparent(
            given.get(b"traceparent", b"").decode("latin-1")
        )
    if context is None:
        return metadata
    metadata += trace_metadata(Span(context))
    if not context.tracestate and b"tracestate" in given:
        metadata.append(("tracestate", given[b"tracestate"].decode("latin-1")))
    return metadata


def grpc_metadata(pairs: Iterable[Header], *, from_grpc: bool) -> Metadata:
    """What a gRPC app, or a client of InvokeService, gets; no trace context.

    Permanent HTTP headers get a prefix when the call came in over HTTP.
    """
    metadata: Metadata = []
    for name, value in pairs:
        if name in _NOT_METADATA or name[:1] == b":":
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
    """Add the current span, in both forms a gRPC peer may read."""
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
