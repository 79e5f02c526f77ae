"""The messages of ``CallLocalStream`` and ``CallLocal``, read.

Of what repeats the meaning is kept. What looks unusual is left to the library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from dapr_common.http.messages import Header
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_common.wire.dapr.proto.internals.v1 import status_pb2
from dapr_sidecar.messaging import wire
from dapr_sidecar.messaging.call import Answer, Invocation
from dapr_sidecar.messaging.outline import RequestStream, ResponseStream

_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_VERB_NAMES = {number: name for name, number in wire.VERBS.items()}
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_Message = tuple[str, str, str, str, str]
"""Method, verb, query, content type and type URL of a request."""
Payload = tuple[bytes, int]
"""Data and its number."""

_decoded: dict[bytes, Header] = {}
_messages: dict[bytes, _Message] = {}
_replies: dict[bytes, tuple[str, str]] = {}
_codes: dict[bytes, int] = {}
_GRPC_ORIGIN = b"\x0a\x0ccontent-type\x12"
_names: dict[str, bytes] = {}


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
    outline = RequestStream.FromString(raw)
    requests, payloads = outline.request, outline.payload
    if len(requests) != 1 or len(payloads) > 1 or raw.find(_GRPC_ORIGIN) >= 0:
        # The spelling of that name tells where a call came from; the decoder drops it.
        return _request_by_library(raw, target)
    request = requests[0]
    messages = request.message
    if len(messages) != 1 or request.actor:
        return _request_by_library(raw, target)
    metadata = _pairs(request.metadata)
    payload = payloads[0] if payloads else None
    return LeadingRequest(
        _invocation(target, _message(messages[0]), metadata),
        request.ver,
        bool(metadata),
        None if payload is None else (payload.data, payload.seq),
    )


def read_response(raw: bytes) -> LeadingResponse:
    """Read the first message of a response. Raises ``DecodeError``."""
    outline = ResponseStream.FromString(raw)
    responses, payloads = outline.response, outline.payload
    if len(responses) != 1 or len(payloads) > 1:
        return _response_by_library(raw)
    response = responses[0]
    statuses, replies = response.status, response.message
    if len(statuses) != 1 or len(replies) != 1 or response.trailers:
        return _response_by_library(raw)
    code, kept = _codes.get(statuses[0]), _replies.get(replies[0])
    if code is None or kept is None:
        return _response_by_library(raw)
    headers = _pairs(response.headers)
    payload = payloads[0] if payloads else None
    return LeadingResponse(
        Answer(code, headers, kept[0], b"", from_grpc=code < 100, type_url=kept[1]),
        True,
        None if payload is None else (payload.data, payload.seq),
    )


def _pairs(entries: Sequence[bytes]) -> list[Header]:
    """Map entries as pairs; most are known."""
    pairs = list(map(_decoded.get, entries))
    if all(pairs):
        return cast(list[Header], pairs)
    found: list[Header] = []
    for entry, pair in zip(entries, pairs, strict=True):
        if pair is None:
            found += _entry_pairs(entry)
        else:
            found.append(pair)
    return found


def _response_by_library(raw: bytes) -> LeadingResponse:
    message = internals.InternalInvokeResponseStream.FromString(raw)
    response = message.response
    answer = answer_of(response)
    if not answer.body and len(answer.content_type) + len(answer.type_url) <= wire.KEPT_BYTES:
        reply = response.message.SerializeToString()
        _keep(_replies, reply, (answer.content_type, answer.type_url))
    if not answer.message and not answer.details:
        _keep(_codes, response.status.SerializeToString(), answer.status)
    payload = message.payload
    return LeadingResponse(
        answer,
        response.HasField("status"),
        (payload.data, payload.seq) if message.HasField("payload") else None,
    )


def _keep(known: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    if len(known) >= wire.KEPT_LIMIT:
        known.clear()
    known[key] = value


def _message(raw: bytes) -> _Message:
    """The message of a request, all but its data."""
    found = _messages.get(raw)
    if found is None:
        message = common_pb2.InvokeRequest.FromString(raw)
        found = _message_of(message)
        if not found[2] and not message.data.value and len(raw) <= wire.KEPT_BYTES:
            _keep(_messages, raw, found)
    return found


def _message_of(message: common_pb2.InvokeRequest) -> _Message:
    verb = query = ""
    if message.HasField("http_extension"):
        extension = message.http_extension
        verb = _VERB_NAMES.get(extension.verb, "NONE")
        query = extension.querystring
    type_url = message.data.type_url if message.HasField("data") else ""
    return message.method, verb, query, message.content_type, type_url


def _entry_pairs(piece: bytes) -> list[Header]:
    entry = internals.InternalInvokeRequest.FromString(wire.field(2, piece))
    pairs = pairs_of(entry.metadata)
    if len(pairs) == 1 and pairs[0][0] in wire.KEPT_NAMES and len(piece) <= wire.KEPT_BYTES:
        _keep(_decoded, piece, pairs[0])
    return pairs


def lower_name(name: str) -> bytes:
    """A metadata name in lower case, as bytes; empty when no header can have it."""
    found = _names.get(name)
    if found is None:
        found = name.lower().encode("utf-8", "replace")
        if _NAME.fullmatch(found) is None:
            # A peer must not be able to write header lines of its own into a request or answer.
            found = b""
        if len(_names) < wire.KEPT_LIMIT and len(name) <= wire.KEPT_BYTES:
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


def pairs_of_texts(entries: Mapping[str, str]) -> list[Header]:
    """A map of names and texts as pairs."""
    pairs = ((lower_name(name), value.encode()) for name, value in entries.items())
    return [pair for pair in pairs if pair[0]]


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
