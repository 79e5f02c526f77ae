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
_Message = tuple[str, str, str, str, str]
"""Method, verb, query, content type and type URL of a request."""
Payload = tuple[bytes, int]
"""Data and its number."""

_decoded: dict[bytes, Header] = {}
_messages: dict[bytes, _Message] = {}
_replies: dict[bytes, tuple[str, str]] = {}
_GRPC_ORIGIN = b"\x0a\x0ccontent-type\x12"
_names: dict[str, bytes] = {}
_REQUEST, _PAYLOAD, _ENTRY, _TRAILER, _MESSAGE = 0x0A, 0x12, 0x12, 0x1A, 0x22
_STATUS, _REQUEST_MESSAGE, _VERSION = 0x0A, 0x1A, 0x08
_DATA, _CODE = 0x0A, 0x08


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

    payload: Payload | None


@dataclass(slots=True)
class LeadingResponse:
    """The first message of a response stream."""

    answer: Answer
    complete: bool
    """Whether the status is there."""

    payload: Payload | None


def read_request(raw: bytes, target: str) -> LeadingRequest:
    """Read the first message of a request. Raises ``DecodeError``."""
    outer = _fields(raw, None)
    request = b"" if outer is None else outer.get(_REQUEST, b"")
    inner = None if outer is None else _fields(request, [])
    if outer is None or inner is None or request.find(_GRPC_ORIGIN) >= 0:
        # The spelling of that name tells where a call came from; the decoder drops it.
        return _request_by_library(raw, target)
    metadata: list[Header] = inner[_ENTRY]
    message = inner.get(_REQUEST_MESSAGE)
    payload = outer.get(_PAYLOAD)
    return LeadingRequest(
        _invocation(target, _message(message or b""), metadata),
        inner.get(_VERSION, 0),
        bool(metadata) and message is not None,
        None if payload is None else _payload(payload),
    )


def read_response(raw: bytes) -> LeadingResponse:
    """Read the first message of a response. Raises ``DecodeError``."""
    outer = _fields(raw, None)
    inner = None if outer is None else _fields(outer.get(_REQUEST, b""), [])
    if outer is None or inner is None or _TRAILER in inner:
        return _response_by_library(raw)
    status = inner.get(_STATUS)
    reply = inner.get(_MESSAGE, b"")
    kept = _replies.get(reply)
    if kept is None or status is None or len(status) != 3 or status[0] != _CODE:
        return _response_by_library(raw)
    payload = outer.get(_PAYLOAD)
    code = status[1] & 0x7F | status[2] << 7
    return LeadingResponse(
        Answer(code, inner[_ENTRY], kept[0], b"", from_grpc=code < 100, type_url=kept[1]),
        True,
        None if payload is None else _payload(payload),
    )


def _response_by_library(raw: bytes) -> LeadingResponse:
    message = internals.InternalInvokeResponseStream.FromString(raw)
    response = message.response
    answer = answer_of(response)
    if not answer.body and len(answer.content_type) + len(answer.type_url) <= wire.KEPT_BYTES:
        if len(_replies) >= wire.KEPT_LIMIT:
            _replies.clear()
        reply = response.message.SerializeToString()
        _replies[reply] = answer.content_type, answer.type_url
    payload = message.payload
    return LeadingResponse(
        answer,
        response.HasField("status"),
        (payload.data, payload.seq) if message.HasField("payload") else None,
    )


def _message(raw: bytes) -> _Message:
    """The message of a request, all but its data."""
    found = _messages.get(raw)
    if found is None:
        message = common_pb2.InvokeRequest.FromString(raw)
        found = _message_of(message)
        if not found[2] and not message.data.value and len(raw) <= wire.KEPT_BYTES:
            if len(_messages) >= wire.KEPT_LIMIT:
                _messages.clear()
            _messages[raw] = found
    return found


def _message_of(message: common_pb2.InvokeRequest) -> _Message:
    verb = query = ""
    if message.HasField("http_extension"):
        extension = message.http_extension
        verb = _VERB_NAMES.get(extension.verb, "NONE")
        query = extension.querystring
    type_url = message.data.type_url if message.HasField("data") else ""
    return message.method, verb, query, message.content_type, type_url


def _payload(raw: bytes) -> Payload:
    """A payload; most are the data of the first one and nothing else."""
    if len(raw) > 3 and raw[0] == _DATA:
        size, start = raw[1], 2
        if size > 0x7F:
            size, start = size & 0x7F | raw[2] << 7, 3
        if start + size == len(raw) and raw[start - 1] < 0x80:
            return raw[start:], 0
    payload = common_pb2.StreamPayload.FromString(raw)
    return payload.data, payload.seq


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
    request, payload = message.request, message.payload
    return LeadingRequest(
        invocation_of(request, target),
        request.ver,
        bool(request.metadata) and request.HasField("message"),
        (payload.data, payload.seq) if message.HasField("payload") else None,
    )


def invocation_of(request: internals.InternalInvokeRequest, target: str) -> Invocation:
    """The call an internal request asks for; its body is still to come."""
    call = _invocation(target, _message_of(request.message), pairs_of(request.metadata))
    if "content-type" in request.metadata:
        values = request.metadata["content-type"].values
        call.from_grpc = bool(values) and values[0].startswith("application/grpc")
    return call


def _invocation(target: str, message: _Message, metadata: list[Header]) -> Invocation:
    method, verb, query, content_type, type_url = message
    return Invocation(
        target,
        method,
        verb=verb,
        query=query,
        metadata=metadata,
        content_type=content_type,
        body=None,
        type_url=type_url,
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


Carrier = internals.InternalInvokeRequestStream | internals.InternalInvokeResponseStream


class Payloads:
    """Checks the sequence of payloads as they come."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 0

    def take(self, payload: Payload) -> bytes:
        """The data of a payload. Raises ``SequenceError``."""
        data, seq = payload
        if seq != self._next:
            raise SequenceError(seq, self._next)
        self._next += 1
        return data

    def of(self, message: Carrier) -> bytes:
        """The data of a later message, which may have none. Raises ``SequenceError``."""
        if not message.HasField("payload"):
            return b""
        payload = message.payload
        return self.take((payload.data, payload.seq))
