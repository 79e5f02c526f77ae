"""The messages of ``CallLocalStream`` and ``CallLocal``, built.

Leading messages are encoded by hand: it halves the cost of a small call, because names and most
values of a caller repeat and their map entries are kept ready.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import cast

from dapr_common.grpc.wire import frame
from dapr_common.http.headers import canonical
from dapr_common.http.messages import Header
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_sidecar.messaging.call import Answer, Invocation, InvocationError

CHUNK_BYTES = 2048
_WRAPPING_BYTES = 64 << 10
"""What a message between sidecars may have beside its body: the headers of its call, mostly."""
VERBS: dict[str, int] = dict(common_pb2.HTTPExtension.Verb.items())
_POST = VERBS["POST"]

# Names whose values repeat and are no secrets: their entries are kept, encoded and decoded.
KEPT_NAMES = frozenset(
    b"accept,accept-encoding,accept-language,connection,content-length,content-type,date,host,"
    b"server,"
    b"user-agent,x-forwarded-for,x-forwarded-host,forwarded,destination-app-id,"
    b"dapr-caller-app-id,dapr-callee-app-id,dapr-caller-namespace".split(b",")
)
KEPT_LIMIT, KEPT_BYTES = 1024, 256
_NAME = itemgetter(0)
_kept: dict[Header, bytes] = {}
_kept_messages: dict[tuple[str, str, str], bytes] = {}


def message_limit(body_limit: int | None) -> int | None:
    """The largest message for bodies of that size: who is called must not depend on where it is."""
    return None if body_limit is None else body_limit + _WRAPPING_BYTES


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    size = len(data)
    if size < 0x80:
        return bytes((number << 3 | 2, size)) + data
    return bytes((number << 3 | 2,)) + _varint(size) + data


def _entry(number: int, name: bytes, values: Iterable[bytes]) -> bytes:
    listed = b"".join([field(1, _text(value)) for value in values])
    return field(number, field(1, name) + field(2, listed))


def _text(value: bytes) -> bytes:
    """A protobuf string must be UTF-8."""
    return value if value.isascii() else value.decode("utf-8", "replace").encode()


def metadata_entries(pairs: Sequence[Header], *, spelled: bool) -> bytes:
    """Field 2 of a request or response: pairs as map entries; ``spelled`` is Go's spelling."""
    if len(set(map(_NAME, pairs))) != len(pairs):
        return _grouped(pairs, 2, spelled=spelled)
    if spelled and all(known := list(map(_kept.get, pairs))):
        return b"".join(cast(list[bytes], known))
    parts: list[bytes] = []
    for pair in pairs:
        name, value = pair
        if name in KEPT_NAMES and spelled:
            entry = _kept.get(pair)
            if entry is None:
                entry = _entry(2, canonical(name), (value,))
                if len(entry) <= KEPT_BYTES:
                    if len(_kept) >= KEPT_LIMIT:
                        _kept.clear()
                    _kept[pair] = entry
        else:
            entry = _entry(2, canonical(name) if spelled else name, (value,))
        parts.append(entry)
    return b"".join(parts)


def _grouped(pairs: Sequence[Header], number: int, *, spelled: bool) -> bytes:
    grouped: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return b"".join(
        [
            _entry(number, canonical(name) if spelled else name, values)
            for name, values in grouped.items()
        ]
    )


@lru_cache(maxsize=1024)
def _payload_head(size: int, after: int = 0) -> bytes:
    """What stands before the data of a payload: tags and lengths; ``after``: bytes behind it."""
    data = b"\x0a" + _varint(size)
    return b"\x12" + _varint(len(data) + size + after) + data


def _payload(data: bytes, seq: int) -> bytes:
    if not seq:
        return _payload_head(len(data)) + data
    numbered = b"\x10" + _varint(seq)
    return b"".join((_payload_head(len(data), len(numbered)), data, numbered))


def leading_request(call: Invocation, entries: bytes, data: bytes) -> bytes:
    """The first message of a streamed request; ``entries`` is its encoded metadata."""
    message = _request_message(call)
    head = (b"\x0a", _varint(2 + len(entries) + len(message)), b"\x08\x01", entries, message)
    if data:
        return b"".join((*head, _payload_head(len(data)), data))
    return b"".join(head)


def _request_message(call: Invocation) -> bytes:
    """Field 3 of a request: who, how and what, all but the data."""
    key = (call.method, call.verb, call.content_type)
    # Queries are not kept: they repeat less, and some hold secrets.
    kept = not call.query and not call.type_url
    if kept and (found := _kept_messages.get(key)) is not None:
        return found
    message = field(1, _method(call.method))
    message += field(2, field(1, call.type_url.encode()) if call.type_url else b"")
    if call.content_type:
        message += field(3, call.content_type.encode("utf-8", "replace"))
    if call.verb:
        verb = VERBS.get(call.verb, _POST)
        extension = bytes((8, verb)) if verb else b""
        if call.query:
            extension += field(2, _query(call.query))
        message += field(4, extension)
    made = field(3, message)
    if kept and len(made) <= KEPT_BYTES:
        if len(_kept_messages) >= KEPT_LIMIT:
            _kept_messages.clear()
        _kept_messages[key] = made
    return made


def _method(method: str) -> bytes:
    try:
        return method.encode()
    except UnicodeEncodeError:
        raise InvocationError(f"invalid method: {method!r} is not valid UTF-8") from None


def _query(query: str) -> bytes:
    """A query as it came; bytes that are no UTF-8, which no message takes, are escaped."""
    try:
        return query.encode()
    except UnicodeEncodeError:
        parts = [part.encode("utf-8", "surrogateescape") for part in query]
        return b"".join([part if _is_text(part) else b"%%%02X" % part[0] for part in parts])


def _is_text(part: bytes) -> bool:
    return len(part) > 1 or part[0] < 0x80


def leading_response(answer: Answer, entries: bytes, data: bytes) -> bytes:
    """The first message of a streamed response."""
    if answer.message or answer.details:
        status = field(1, _status(answer))
    else:
        # In the stream of server-sent events Go says OK, not 200.
        status = _plain_status(0 if answer.events else answer.status)
    message = _response_message(answer.content_type, answer.type_url)
    trailers = _grouped(answer.trailers, 3, spelled=False) if answer.trailers else b""
    size = len(status) + len(entries) + len(trailers) + len(message)
    head = (b"\x0a", _varint(size), status, entries, trailers, message)
    if data:
        return b"".join((*head, _payload_head(len(data)), data))
    return b"".join(head)


@lru_cache(maxsize=256)
def _plain_status(code: int) -> bytes:
    return field(1, b"\x08" + _varint(code) if code else b"")


@lru_cache(maxsize=256)
def _response_message(content_type: str, type_url: str) -> bytes:
    message = field(1, field(1, type_url.encode())) if type_url else b""
    if content_type:
        message += field(2, content_type.encode("utf-8", "replace"))
    return field(4, message)


def _status(answer: Answer) -> bytes:
    status = b"\x08" + _varint(answer.status) if answer.status else b""
    if answer.message:
        status += field(2, answer.message.encode("utf-8", "replace"))
    for detail in answer.details:
        status += field(3, detail.SerializeToString())
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
