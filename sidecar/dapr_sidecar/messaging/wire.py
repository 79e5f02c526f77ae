"""The messages of ``CallLocalStream`` and ``CallLocal``, built and read.

Leading messages are encoded by hand: it halves the cost of a small call, because names and most
values of a caller repeat and their map entries are kept ready.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dapr_common.grpc.wire import frame
from dapr_common.http.headers import canonical
from dapr_common.http.messages import Header
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_common.wire.dapr.proto.internals.v1 import status_pb2
from dapr_sidecar.messaging.call import Answer, Invocation

CHUNK_BYTES = 2048
VERBS: dict[str, int] = dict(common_pb2.HTTPExtension.Verb.items())
_VERB_NAMES = {number: name for name, number in VERBS.items()}
_POST = VERBS["POST"]

# Names whose values repeat and are no secrets: their entries are kept, encoded and decoded.
_KEPT_NAMES = frozenset(
    b"accept,accept-encoding,accept-language,connection,content-length,content-type,host,server,"
    b"user-agent,x-forwarded-for,x-forwarded-host,forwarded,destination-app-id,"
    b"dapr-caller-app-id,dapr-callee-app-id,dapr-caller-namespace".split(b",")
)
_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_KEPT_LIMIT, _KEPT_BYTES = 1024, 256
_kept: dict[Header, bytes] = {}
_decoded: dict[bytes, Header] = {}
_names: dict[str, bytes] = {}


class SequenceError(Exception):
    """A payload is missing or came twice."""

    def __init__(self, given: int, expected: int) -> None:
        super().__init__(f"invalid sequence number received: {given} (expected: {expected})")


# --- encoding -----------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, data: bytes) -> bytes:
    size = len(data)
    if size < 0x80:
        return bytes((number << 3 | 2, size)) + data
    return bytes((number << 3 | 2,)) + _varint(size) + data


def _entry(field: int, name: bytes, values: Iterable[bytes]) -> bytes:
    listed = b"".join([_field(1, _text(value)) for value in values])
    return _field(field, _field(1, name) + _field(2, listed))


def _text(value: bytes) -> bytes:
    """A protobuf string must be UTF-8."""
    return value if value.isascii() else value.decode("utf-8", "replace").encode()


def metadata_entries(pairs: Sequence[Header], *, spelled: bool) -> bytes:
    """Field 2 of a request or response: pairs as map entries; ``spelled`` is Go's spelling."""
    names = {pair[0] for pair in pairs}
    if len(names) != len(pairs):
        return _grouped(pairs, 2, spelled=spelled)
    parts: list[bytes] = []
    for pair in pairs:
        name, value = pair
        if name in _KEPT_NAMES and spelled:
            entry = _kept.get(pair)
            if entry is None:
                entry = _entry(2, canonical(name), (value,))
                if len(entry) <= _KEPT_BYTES:
                    if len(_kept) >= _KEPT_LIMIT:
                        _kept.clear()
                    _kept[pair] = entry
        else:
            entry = _entry(2, canonical(name) if spelled else name, (value,))
        parts.append(entry)
    return b"".join(parts)


def _grouped(pairs: Sequence[Header], field: int, *, spelled: bool) -> bytes:
    grouped: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return b"".join(
        [
            _entry(field, canonical(name) if spelled else name, values)
            for name, values in grouped.items()
        ]
    )


def _payload(data: bytes, seq: int) -> bytes:
    numbered = _field(1, data) + b"\x10" + _varint(seq) if seq else _field(1, data)
    return _field(2, numbered)


def leading_request(call: Invocation, entries: bytes, data: bytes) -> bytes:
    """The first message of a streamed request; ``entries`` is its encoded metadata."""
    message = _field(1, call.method.encode("utf-8", "replace"))
    message += _field(2, _field(1, call.type_url.encode()) if call.type_url else b"")
    if call.content_type:
        message += _field(3, call.content_type.encode("utf-8", "replace"))
    if call.verb:
        verb = VERBS.get(call.verb, _POST)
        extension = bytes((8, verb)) if verb else b""
        if call.query:
            extension += _field(2, call.query.encode("utf-8", "replace"))
        message += _field(4, extension)
    request = b"\x08\x01" + entries + _field(3, message)
    encoded = _field(1, request)
    return encoded + _payload(data, 0) if data else encoded


def leading_response(answer: Answer, entries: bytes, data: bytes) -> bytes:
    """The first message of a streamed response."""
    status = _status(answer)
    message = b""
    if answer.type_url:
        message = _field(1, _field(1, answer.type_url.encode()))
    if answer.content_type:
        message += _field(2, answer.content_type.encode("utf-8", "replace"))
    response = _field(1, status) + entries
    if answer.trailers:
        response += _grouped(answer.trailers, 3, spelled=False)
    encoded = _field(1, response + _field(4, message))
    return encoded + _payload(data, 0) if data else encoded


def _status(answer: Answer) -> bytes:
    # In the stream of server-sent events Go says OK, not 200.
    code = 0 if answer.events else answer.status
    status = b"\x08" + _varint(code) if code else b""
    if answer.message:
        status += _field(2, answer.message.encode("utf-8", "replace"))
    for detail in answer.details:
        status += _field(3, detail.SerializeToString())
    return status


def payload_message(data: bytes, seq: int, *, events: bool = False) -> bytes:
    """A message after the first; events carry an empty ``response`` besides."""
    return b"\x0a\x00" + _payload(data, seq) if events else _payload(data, seq)


def split(data: bytes) -> list[bytes]:
    """Data in chunks of the size Dapr sends."""
    if len(data) <= CHUNK_BYTES:
        return [data]
    return [data[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES)]


def request_frames(call: Invocation, entries: bytes, body: bytes) -> bytes:
    """A whole request as gRPC frames."""
    if len(body) <= CHUNK_BYTES:
        return frame(leading_request(call, entries, body))
    chunks = split(body)
    frames = [frame(leading_request(call, entries, chunks[0]))]
    frames += [frame(_payload(chunk, seq)) for seq, chunk in enumerate(chunks[1:], 1)]
    return b"".join(frames)


# --- decoding -----------------------------------------------------------------------------------

_REQUEST, _PAYLOAD, _ENTRY, _TRAILER, _MESSAGE = 0x0A, 0x12, 0x12, 0x1A, 0x22
_STATUS, _REQUEST_MESSAGE, _VERSION = 0x0A, 0x1A, 0x08


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
            shift = 7
            if size > 0x7F:
                size &= 0x7F
                while True:
                    more = raw[position]
                    position += 1
                    size |= (more & 0x7F) << shift
                    if more < 0x80:
                        break
                    shift += 7
                    if shift > 28:
                        return None
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


def _entry_pairs(piece: bytes) -> list[Header]:
    entry = _field(2, piece)
    pairs = pairs_of(internals.InternalInvokeRequest.FromString(entry).metadata)
    if len(pairs) == 1 and pairs[0][0] in _KEPT_NAMES and len(piece) <= _KEPT_BYTES:
        if len(_decoded) >= _KEPT_LIMIT:
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
        if len(_names) < _KEPT_LIMIT:
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


def internal_request(
    call: Invocation, entries: bytes, body: bytes
) -> internals.InternalInvokeRequest:
    """The request of the unary ``CallLocal``."""
    stream = internals.InternalInvokeRequestStream.FromString(leading_request(call, entries, b""))
    request = stream.request
    request.message.data.value = body
    return request


def internal_response(answer: Answer, body: bytes) -> internals.InternalInvokeResponse:
    """The response of the unary ``CallLocal``."""
    entries = metadata_entries(answer.headers, spelled=not answer.from_grpc)
    stream = internals.InternalInvokeResponseStream.FromString(
        leading_response(answer, entries, b"")
    )
    response = stream.response
    response.message.data.value = body
    return response


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
