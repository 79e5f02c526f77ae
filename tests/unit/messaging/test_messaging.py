from __future__ import annotations

import base64
import hashlib
import socket
from collections import deque

import pytest
from google.protobuf.message import DecodeError
from harness.spans import SpanList
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.grpc import wire as grpc_wire
from dapr_common.grpc.wire import Deframer, decode_metadata, encode_metadata
from dapr_common.http import headers as http_headers
from dapr_common.http.messages import Header
from dapr_common.observe.tracing import SpanContext, Tracer, current_span
from dapr_common.wire.dapr.proto.common.v1 import common_pb2
from dapr_common.wire.dapr.proto.internals.v1 import service_invocation_pb2 as internals
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.nameresolution.base import Resolver
from dapr_sidecar.messaging import headers, internal_port, reading, statuses, wire
from dapr_sidecar.messaging.call import Answer, Invocation, InvocationError
from dapr_sidecar.messaging.peers import Peers
from dapr_sidecar.messaging.resolve import AddressBook

# --- wire ---------------------------------------------------------------------------------------

NAME = st.sampled_from([b"accept", b"content-type", b"x-a", b"x-long-name", b"content-length"])
PAIRS = st.lists(
    st.tuples(NAME, st.binary(max_size=300).map(lambda b: b.replace(b"\0", b""))), max_size=8
)


def multi(pairs: list[Header], *, spelled: bool) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        key = name.decode().title() if spelled else name.decode()
        found.setdefault(key, []).append(value.decode("utf-8", "replace"))
    return found


@given(
    PAIRS,
    st.booleans(),
    st.text(max_size=200),
    st.sampled_from(["", "GET", "WEIRD"]),
    st.text(max_size=9),
    st.binary(max_size=300),
)
def test_leading_requests_say_what_was_meant(
    pairs: list[Header], spelled: bool, method: str, verb: str, query: str, data: bytes
) -> None:
    call = Invocation("a", method, verb=verb, query=query, content_type="text/x", type_url="t")
    entries = wire.metadata_entries(pairs, spelled=spelled)
    message = internals.InternalInvokeRequestStream.FromString(
        wire.leading_request(call, entries, data)
    )
    request = message.request
    assert request.ver == 1
    assert {k: list(v.values) for k, v in request.metadata.items()} == multi(pairs, spelled=spelled)
    assert request.message.method == method
    assert (request.message.content_type, request.message.data.type_url) == ("text/x", "t")
    assert request.message.HasField("http_extension") is bool(verb)
    if verb:
        wanted = {"GET": common_pb2.HTTPExtension.GET}.get(verb, common_pb2.HTTPExtension.POST)
        assert request.message.http_extension.verb == wanted
        assert request.message.http_extension.querystring == query
    assert message.HasField("payload") is bool(data)
    assert message.payload.data == data
    read = reading.read_request(message.SerializeToString(), "a")
    back = read.call
    assert read.version == 1
    assert read.complete is bool(pairs)
    assert (read.payload is not None) is bool(data)
    assert (back.method, back.verb, back.query) == (
        method,
        "" if not verb else "GET" if verb == "GET" else "POST",
        query if verb else "",
    )
    assert sorted(back.metadata) == sorted(
        (n, v.decode("utf-8", "replace").encode()) for n, v in pairs
    )
    assert sorted(n for n, _ in back.metadata) == sorted(n for n, _ in pairs)


@given(PAIRS, st.integers(0, 599), st.text(max_size=20), st.binary(max_size=50))
def test_leading_responses_say_what_was_meant(
    pairs: list[Header], status: int, text: str, data: bytes
) -> None:
    answer = Answer(status, pairs, "text/x", b"", message=text, trailers=pairs)
    entries = wire.metadata_entries(pairs, spelled=True)
    message = internals.InternalInvokeResponseStream.FromString(
        wire.leading_response(answer, entries, data)
    )
    response = message.response
    assert response.HasField("status")
    assert (response.status.code, response.status.message) == (status, text)
    assert {k: list(v.values) for k, v in response.headers.items()} == multi(pairs, spelled=True)
    assert {k: list(v.values) for k, v in response.trailers.items()} == multi(pairs, spelled=False)
    assert response.message.content_type == "text/x"
    assert message.payload.data == data
    read = reading.read_response(message.SerializeToString())
    back = read.answer
    assert read.complete
    assert sorted(back.trailers) == sorted(back.headers)
    assert (back.status, back.message) == (status, text)


@given(st.binary(max_size=9000))
def test_bodies_travel_in_numbered_chunks(body: bytes) -> None:
    frames = wire.request_frames(Invocation("a", "m"), b"", body)
    found = b""
    payloads = reading.Payloads()
    messages: deque[bytes] = deque()
    Deframer(None).feed(frames, messages)
    for raw in messages:
        message = internals.InternalInvokeRequestStream.FromString(raw)
        assert len(message.payload.data) <= 2048
        if message.HasField("payload"):
            found += payloads.of(message)
    assert found == body


def test_names_that_peers_make_up_are_not_remembered_when_they_are_long() -> None:
    """A thousand of four megabytes each would stay for as long as the process."""
    long = "x-" + "n" * 1_000_000
    assert reading.lower_name(long.upper()) == long.encode()
    pairs: list[Header] = [(long.encode(), b"1")]
    assert headers.request_headers(pairs, "")[0][1] == b"1"
    assert headers.response_headers(pairs)[0][0][1] == b"1"
    assert decode_metadata(pairs) == [(long, "1")]
    assert encode_metadata([(long, "1")]) == pairs
    kept = [
        *(len(name) for name in reading._names),
        *(len(name) for name in (*headers._known_requests, *headers._known_responses)),
        *(len(name) for name in http_headers._CACHE),
    ]
    assert max(kept) < 1000
    before = grpc_wire._key.cache_info(), grpc_wire._text.cache_info()
    assert decode_metadata(encode_metadata([(long, "2")])) == [(long, "2")]
    assert (grpc_wire._key.cache_info(), grpc_wire._text.cache_info()) == before


def test_gaps_in_the_sequence_are_errors() -> None:
    payloads = reading.Payloads()
    assert payloads.take((b"a", 0)) == b"a"
    with pytest.raises(
        reading.SequenceError, match=r"^invalid sequence number received: 2 \(expected: 1\)$"
    ):
        payloads.take((b"b", 2))


def test_events_start_with_ok_and_carry_responses() -> None:
    answer = Answer(200, [], "", b"", events=True)
    first = internals.InternalInvokeResponseStream.FromString(
        wire.leading_response(answer, b"", b"")
    )
    assert first.response.HasField("status")
    assert first.response.status.code == 0
    later = internals.InternalInvokeResponseStream.FromString(
        wire.payload_message(b"x", 3, events=True)
    )
    assert later.HasField("response")
    assert not later.response.HasField("status")
    assert (later.payload.data, later.payload.seq) == (b"x", 3)


def test_origin_is_read_from_the_content_type_key() -> None:
    request = internals.InternalInvokeRequest()
    request.metadata["content-type"].values.append("application/grpc+proto")
    assert reading.invocation_of(request, "a").from_grpc
    request = internals.InternalInvokeRequest()
    request.metadata["Content-Type"].values.append("application/grpc")
    assert not reading.invocation_of(request, "a").from_grpc
    for name, expected in (("content-type", True), ("Content-Type", False)):
        message = internals.InternalInvokeRequestStream()
        message.request.metadata[name].values.append("application/grpc")
        assert reading.read_request(message.SerializeToString(), "a").call.from_grpc is expected


def test_names_that_would_split_a_message_are_dropped() -> None:
    message = internals.InternalInvokeRequestStream()
    for name in ("X-Ok", ":authority", "X\r\nEvil", "a b", "", "é", "x:y"):
        message.request.metadata[name].values.append("v")
    found = reading.read_request(message.SerializeToString(), "a").call.metadata
    assert sorted(found) == [(b":authority", b"v"), (b"x-ok", b"v")]


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """The quick reader says what the library says."""
    try:
        wanted = internals.InternalInvokeRequestStream.FromString(raw)
    except DecodeError:
        with pytest.raises(DecodeError):
            reading.read_request(raw, "a")
        return
    read = reading.read_request(raw, "a")
    assert read.call.method == wanted.request.message.method
    assert (read.payload is not None) is wanted.HasField("payload")
    assert sorted(read.call.metadata) == sorted(reading.pairs_of(wanted.request.metadata))


# --- headers ------------------------------------------------------------------------------------


def test_what_an_http_app_gets() -> None:
    given_ = [
        (b"host", b"h"),
        (b"connection", b"X-Drop, close"),
        (b"x-drop", b"1"),
        (b"te", b"trailers"),
        (b"content-type", b"ignored"),
        (b"content-length", b"5"),
        (b"destination-app-id", b"a"),
        (b"x-data-bin", b"AA=="),
        (b"baggage", b"k=v"),
        (b"baggage", b"second=1"),
        (b"x-many", b"1"),
        (b"x-many", b"2"),
        (b"grpc-accept-encoding", b"gzip"),
        (b":authority", b"me"),
        (b"user-agent", b"u"),
    ]
    assert headers.request_headers(given_, "text/x") == [
        (b"X-Many", b"1"),
        (b"X-Many", b"2"),
        (b"Dapr-Grpc-Accept-Encoding", b"gzip"),
        (b"Dapr-Authority", b"me"),
        (b"User-Agent", b"u"),
        (b"Baggage", b"k=v"),
        (b"Content-Type", b"text/x"),
    ]


def test_trace_context_towards_an_http_app() -> None:
    parent = SpanContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1)
    given_ = [(b"traceparent", parent.traceparent.encode()), (b"tracestate", b"a=b")]
    assert headers.request_headers(given_, "") == [
        (b"Traceparent", given_[0][1]),
        (b"Tracestate", b"a=b"),
    ]
    binary = [(b"grpc-trace-bin", base64.b64encode(parent.grpc_trace_bin).rstrip(b"="))]
    assert headers.request_headers(binary, "", from_grpc=True) == [(b"Traceparent", given_[0][1])]
    assert headers.request_headers([(b"grpc-trace-bin", b"!")], "", from_grpc=True) == []
    span = Tracer(1, SpanList()).start("x", "SERVER", parent)
    token = current_span.set(span)
    try:
        # The span in its binary form has no state; what came with the call stays.
        assert headers.request_headers(given_, "") == [
            (b"Traceparent", span.context.traceparent.encode()),
            (b"Tracestate", b"a=b"),
        ]
        assert headers.app_metadata(given_, from_grpc=False) == [
            ("grpc-trace-bin", span.context.grpc_trace_bin),
            ("traceparent", span.context.traceparent),
            ("tracestate", "a=b"),
        ]
    finally:
        current_span.reset(token)


def test_trace_context_towards_a_grpc_app_without_spans() -> None:
    parent = SpanContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1)
    wanted = [("grpc-trace-bin", parent.grpc_trace_bin), ("traceparent", parent.traceparent)]
    as_text = [(b"traceparent", parent.traceparent.encode()), (b"tracestate", b"a=b")]
    binary = [(b"grpc-trace-bin", base64.b64encode(parent.grpc_trace_bin))]
    assert headers.app_metadata(as_text, from_grpc=False) == [*wanted, ("tracestate", "a=b")]
    assert headers.app_metadata(binary, from_grpc=True) == wanted
    assert headers.app_metadata([(b"traceparent", b"nonsense")], from_grpc=False) == []


def test_dates_of_answers() -> None:
    pairs = [(b"date", b"then"), (b"x-a", b"1")]
    assert headers.response_headers(pairs) == ([(b"X-A", b"1"), (b"Date", b"then")], True)
    assert headers.response_headers(pairs[1:]) == ([(b"X-A", b"1")], False)


def test_more_names_than_are_kept() -> None:
    for start in range(0, 5000, 50):
        pairs = [(b"x-%d" % n, b"v") for n in range(start, start + 50)]
        wanted = [(b"X-%d" % n, b"v") for n in range(start, start + 50)]
        assert headers.request_headers([(b"x-0", b"v"), *pairs], "")[1:] == wanted


def test_queries_and_methods_that_are_no_text() -> None:
    query = b"a=\xe9&b=\xc3\xa9\xff".decode("utf-8", "surrogateescape")
    raw = wire.leading_request(Invocation("a", "m", verb="GET", query=query), b"", b"")
    message = internals.InternalInvokeRequestStream.FromString(raw).request.message
    assert message.http_extension.querystring == "a=%E9&b=\u00e9%FF"
    with pytest.raises(InvocationError, match="is not valid UTF-8"):
        wire.leading_request(Invocation("a", "m\udce9"), b"", b"")


def test_phrases_are_those_of_go() -> None:
    found = {status: statuses.reason_phrase(status) for status in (404, 414, 418, 599)}
    assert found == {404: "Not Found", 414: "Request URI Too Long", 418: "I'm a teapot", 599: ""}


def test_what_a_grpc_app_gets() -> None:
    pairs = [
        (b"content-type", b"text/x"),
        (b"cache-control", b"no"),
        (b"x-a", b"1"),
        (b"x-b-bin", b"AQI="),
        (b"traceparent", b"t"),
        (b"destination-app-id", b"a"),
    ]
    assert headers.grpc_metadata(pairs, from_grpc=False) == [
        ("dapr-content-type", "text/x"),
        ("dapr-cache-control", "no"),
        ("x-a", "1"),
        ("x-b-bin", b"\x01\x02"),
    ]
    assert headers.grpc_metadata(pairs, from_grpc=True)[:2] == [
        ("content-type", "text/x"),
        ("cache-control", "no"),
    ]
    assert headers.pairs_from_metadata([("a", "b"), ("c-bin", b"\x01\x02")]) == [
        (b"a", b"b"),
        (b"c-bin", b"AQI="),
    ]


def test_statuses() -> None:
    assert [statuses.http_from_grpc(code) for code in range(18)] == [
        *(200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401, 500)
    ]
    assert [statuses.grpc_from_http(s) for s in (200, 204, 301, 400, 404, 418, 500, 503)] == [
        *(0, 0, 2, 13, 5, 2, 2, 14)
    ]


# --- ports, addresses, peers --------------------------------------------------------------------


def test_stable_port() -> None:
    digest = hashlib.sha256(b"app|/srv|0|box").digest()
    wanted = 47300 + int.from_bytes(digest[:2], "little") % (65535 - 47300)
    assert internal_port.stable_port("app", "/srv", 0, "box") == wanted


def test_a_port_that_is_in_use_is_not_chosen() -> None:
    for number in range(20):
        port = internal_port.choose_port(name := f"a{number}", "some-host")
        if not port:
            continue
        assert port >= 47300
        with socket.socket() as taken:
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:  # any one of them may be in use on this machine by now
                continue
            taken.listen()
            assert internal_port.choose_port(name, "some-host") == 0
            return
    raise AssertionError("all twenty are in use")


class Slow(Resolver):
    def __init__(self, answers: list[str]) -> None:
        super().__init__(None, ComponentContext("x", "y"))
        self.answers = answers

    async def resolve(self, app_id: str, namespace: str, port: int) -> str:
        return self.answers.pop(0)


async def test_empty_answers_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dapr_sidecar.messaging.resolve._EMPTY_PAUSE", 0)
    book = AddressBook()
    with pytest.raises(LookupError, match="name resolver not initialized"):
        await book.find("a", "n")
    book.resolver = Slow(["", "", "x:1"])
    assert await book.find("a", "n") == "x:1"
    book.resolver = Slow([""] * 6)
    with pytest.raises(LookupError, match="resolver returned empty address for app id n/a"):
        await book.find("a", "n")


class Replaced(Resolver):
    """One whose place another takes while it is asked."""

    def __init__(self, book: AddressBook, following: Resolver) -> None:
        super().__init__(None, ComponentContext("x", "y"))
        self.book, self.following = book, following

    async def resolve(self, app_id: str, namespace: str, port: int) -> str:
        self.book.resolver = self.following
        raise LookupError("the name resolver was closed meanwhile")


async def test_no_call_fails_because_the_resolver_is_replaced() -> None:
    book = AddressBook()
    book.resolver = Replaced(book, Replaced(book, Slow(["x:1"])))
    assert await book.find("a", "n") == "x:1"
    book.resolver = last = Replaced(book, Slow([]))
    last.following = last
    with pytest.raises(LookupError, match="closed meanwhile"):
        await book.find("a", "n")


async def test_channels_are_kept_by_identity() -> None:
    peers = Peers()
    one = peers.channel("h:1", "n", "a")
    assert peers.channel("h:1", "n", "a") is one
    assert peers.channel("h:1", "other", "a") is not one
    await peers.drop(one)
    two = peers.channel("h:1", "n", "a")
    assert two is not one
    await peers.drop(one)  # somebody else's call on the old channel
    assert peers.channel("h:1", "n", "a") is two
    await peers.close()
