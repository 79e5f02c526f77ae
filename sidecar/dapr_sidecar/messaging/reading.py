"""The messages of ``CallLocalStream`` and ``CallLocal``, read.

Leading messages are taken apart by hand: the library's maps cost more than the rest of a call.
What looks unusual is left to the library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dapr_common.http.messages import Header
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_common.wire.dapr.proto.internals.v1 import status_pb2
from dapr_sidecar.messaging import wire
from dapr_sidecar.messaging.call import Answer, Invocation

_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_VERB_NAMES = {number: name for name, number in wire.VERBS.items()}
_decoded: dict[bytes, Header] = {}
_names: dict[str, bytes] = {}
_REQUEST, _PAYLOAD, _ENTRY, _TRAILER, _MESSAGE = 0x0A, 0x12, 0x12, 0x1A, 0x22
_STATUS, _REQUEST_MESSAGE, _VERSION = 0x0A, 0x1A, 0x08


class SequenceError(Exception):
    """A payload is missing or came twice."""

    def __init__(self, given: int, expected: int) -> None:
        super().__init__(f"invalid sequence number received: {given} (expected: {expected})")


@dataclass(slots=True)
class LeadingRequest:
    """The first message of a request stream."""

    call: Invocation
    version: int
    complete: bool
    """Whether metadata and message are there."""

    payload: common_pb2.StreamPayload | None


@dataclass(slots=True)
class LeadingResponse:
    """The first message of a response stream."""

    answer: Answer
    complete: bool
    """Whether the status is there."""

    payload: common_pb2.StreamPayload | None


def read_request(raw: bytes, target: str) -> LeadingRequest:
    """Read the first message of a request. Raises ``DecodeError``."""
    outer = _fields(raw, None)
    inner = None if outer is None else _fields(outer.get(_REQUEST, b""), [])
    if outer is None or inner is None:
        return _request_by_library(raw, target)
    metadata: list[Header] = inner.pop(_ENTRY)
    message = common_pb2.InvokeRequest.FromString(inner.get(_REQUEST_MESSAGE, b""))
    call = _invocation(target, message, metadata)
    for name, value in metadata:
        if name == b"content-type" and value.startswith(b"application/grpc"):
            # The spelling of this name tells where a call came from; the decoder dropped it.
            return _request_by_library(raw, target)
    payload = outer.get(_PAYLOAD)
    return LeadingRequest(
        call,
        inner.get(_VERSION, 0),
        bool(metadata) and _REQUEST_MESSAGE in inner,
        None if payload is None else common_pb2.StreamPayload.FromString(payload),
    )


def read_response(raw: bytes) -> LeadingResponse:
    """Read the first message of a response. Raises ``DecodeError``."""
    outer = _fields(raw, None)
    inner = None if outer is None else _fields(outer.get(_REQUEST, b""), [])
    if outer is None or inner is None or _TRAILER in inner:
        message = internals.InternalInvokeResponseStream.FromString(raw)
        return LeadingResponse(
            answer_of(message.response),
            message.response.HasField("status"),
            message.payload if message.HasField("payload") else None,
        )
    status = status_pb2.Status.FromString(inner.get(_STATUS, b""))
    reply = common_pb2.InvokeResponse.FromString(inner.get(_MESSAGE, b""))
    payload = outer.get(_PAYLOAD)
    return LeadingResponse(
        _answer(status, reply, inner[_ENTRY], ()),
        _STATUS in inner,
        None if payload is None else common_pb2.StreamPayload.FromString(payload),
    )


def _fields(raw: bytes, pairs: list[Header] | None) -> dict[int, Any] | None:
    """The fields of a message by tag, map entries as pairs; ``None``: leave it to the library."""
    found: dict[int, Any] = {}
    position, end = 0, len(raw)
    try:
        while position < end:
            tag = raw[position]
            if not 8 <= tag < 0x80:
                return None
            size = raw[position + 1]
            position += 2
            if size > 0x7F:
                size, position = _long_varint(raw, position, size & 0x7F)
            if tag & 7 == 2:
                piece = raw[position : position + size]
                position += size
                if pairs is not None and tag == _ENTRY:
                    pair = _decoded.get(piece)
                    if pair is None:
                        pairs += _entry_pairs(piece)
                    else:
                        pairs.append(pair)
                elif found.setdefault(tag, piece) is not piece:
                    return None
            elif tag & 7 == 0:
                found[tag] = size
            else:
                return None
    except IndexError:
        return None
    if position != end:
        return None
    if pairs is not None:
        found[_ENTRY] = pairs
    return found


def _long_varint(raw: bytes, position: int, number: int) -> tuple[int, int]:
    """The rest of a number longer than one byte. Raises ``IndexError``."""
    for shift in (7, 14, 21, 28):
        byte = raw[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise IndexError


def _entry_pairs(piece: bytes) -> list[Header]:
    entry = internals.InternalInvokeRequest.FromString(wire.field(2, piece))
    pairs = pairs_of(entry.metadata)
    if len(pairs) == 1 and pairs[0][0] in wire.KEPT_NAMES and len(piece) <= wire.KEPT_BYTES:
        if len(_decoded) >= wire.KEPT_LIMIT:
            _decoded.clear()
        _decoded[piece] = pairs[0]
    return pairs


def lower_name(name: str) -> bytes:
    """A metadata name in lower case, as bytes; empty when no header can have it."""
    found = _names.get(name)
    if found is None:
        found = name.lower().encode("utf-8", "replace")
        if _NAME.fullmatch(found) is None:
            # A peer must not be able to write header lines of its own into a request or answer.
            found = b""
        if len(_names) < wire.KEPT_LIMIT:
            _names[name] = found
    return found


def pairs_of(entries: Mapping[str, internals.ListStringValue]) -> list[Header]:
    """A metadata map as pairs."""
    pairs: list[Header] = []
    for text, listed in entries.items():
        values = listed.values
        name = lower_name(text)
        if len(values) == 1 and name:
            pairs.append((name, values[0].encode()))
        elif name:
            pairs += [(name, value.encode()) for value in values]
    return pairs


def _request_by_library(raw: bytes, target: str) -> LeadingRequest:
    message = internals.InternalInvokeRequestStream.FromString(raw)
    request = message.request
    return LeadingRequest(
        invocation_of(request, target),
        request.ver,
        bool(request.metadata) and request.HasField("message"),
        message.payload if message.HasField("payload") else None,
    )


def invocation_of(request: internals.InternalInvokeRequest, target: str) -> Invocation:
    """The call an internal request asks for; its body is still to come."""
    call = _invocation(target, request.message, pairs_of(request.metadata))
    if "content-type" in request.metadata:
        values = request.metadata["content-type"].values
        call.from_grpc = bool(values) and values[0].startswith("application/grpc")
    return call


def _invocation(
    target: str, message: common_pb2.InvokeRequest, metadata: list[Header]
) -> Invocation:
    verb = query = ""
    if message.HasField("http_extension"):
        extension = message.http_extension
        verb = _VERB_NAMES.get(extension.verb, "NONE")
        query = extension.querystring
    return Invocation(
        target,
        message.method,
        verb=verb,
        query=query,
        metadata=metadata,
        content_type=message.content_type,
        body=None,
        type_url=message.data.type_url if message.HasField("data") else "",
    )


def answer_of(response: internals.InternalInvokeResponse) -> Answer:
    """The answer an internal response carries."""
    headers, trailers = pairs_of(response.headers), pairs_of(response.trailers)
    return _answer(response.status, response.message, headers, trailers)


def _answer(
    status: status_pb2.Status,
    message: common_pb2.InvokeResponse,
    headers: list[Header],
    trailers: Sequence[Header],
) -> Answer:
    data = message.data if message.HasField("data") else None
    code = status.code
    return Answer(
        code,
        headers,
        message.content_type,
        b"" if data is None else data.value,
        from_grpc=code < 100,
        trailers=trailers,
        message=status.message,
        details=list(status.details) if code < 100 else (),
        type_url="" if data is None else data.type_url,
    )


class Payloads:
    """Checks the sequence of payloads as they come."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 0

    def take(self, payload: common_pb2.StreamPayload) -> bytes:
        """The data of a payload. Raises ``SequenceError``."""
        if payload.seq != self._next:
            raise SequenceError(payload.seq, self._next)
        self._next += 1
        return payload.data
