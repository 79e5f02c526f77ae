"""Both sessions, each against each, without sockets."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dapr_common.http2 import session as h2
from dapr_common.http2.session import Engine, Session

ENGINES: tuple[Engine, ...] = ("ngh2", "h2")
PAIRS = [(client, server) for client in ENGINES for server in ENGINES]
REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.B/C"),
    (b":authority", b"x"),
    (b"te", b"trailers"),
]
OK = [(b":status", b"200"), (b"content-type", b"application/grpc")]
STATUS = [(b"grpc-status", b"0")]


class Pair:
    """A client and a server whose bytes go straight to each other."""

    def __init__(self, client: Engine, server: Engine, max_streams: int = 100) -> None:
        self.client = h2.client_session(max_header_list=8192, engine=client)
        self.server = h2.server_session(
            max_streams=max_streams, max_header_list=8192, engine=server
        )
        self.seen: dict[str, list[Any]] = {"client": [], "server": []}
        self.pump()
        self.clear()

    def move(self, source: Session, target: Session, name: str) -> bool:
        data = source.data_to_send()
        if data:
            target.receive_data(data)
            self.seen[name] += target.events()
        return bool(data)

    def pump(self) -> None:
        while self.move(self.client, self.server, "server") | self.move(
            self.server, self.client, "client"
        ):
            pass
        self.seen["client"] += self.client.events()
        self.seen["server"] += self.server.events()

    def clear(self) -> None:
        for events in self.seen.values():
            events.clear()

    def of(self, name: str, kind: type) -> list[Any]:
        return [event for event in self.seen[name] if type(event) is kind]

    def body(self, name: str) -> bytes:
        return b"".join(event.data for event in self.of(name, h2.DataReceived))


@pytest.fixture(params=PAIRS, ids=["-".join(pair) for pair in PAIRS])
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(*request.param)


def test_unary_exchange_closes_the_stream_on_both_sides(pair: Pair) -> None:
    stream = pair.client.send_request(REQUEST)
    pair.client.send_data(stream, b"question", end_stream=True)
    pair.pump()
    (request,) = pair.of("server", h2.RequestReceived)
    assert dict(request.headers)[b":path"] == b"/a.B/C"
    assert not request.end_stream
    assert pair.body("server") == b"question"
    assert pair.of("server", h2.DataReceived)[-1].end_stream
    pair.server.send_response(stream, OK)
    pair.server.send_data(stream, b"answer")
    pair.server.send_trailers(stream, STATUS)
    pair.pump()
    (response,) = pair.of("client", h2.ResponseReceived)
    assert dict(response.headers)[b":status"] == b"200"
    assert pair.body("client") == b"answer"
    (trailers,) = pair.of("client", h2.TrailersReceived)
    assert list(trailers.headers) == STATUS
    for side in ("client", "server"):
        (closed,) = pair.of(side, h2.StreamClosed)
        assert (closed.stream_id, closed.error_code) == (stream, 0)


def test_headers_alone_can_end_request_and_response(pair: Pair) -> None:
    stream = pair.client.send_request(REQUEST, end_stream=True)
    pair.pump()
    (request,) = pair.of("server", h2.RequestReceived)
    assert request.end_stream
    pair.server.send_response(stream, OK + STATUS, end_stream=True)
    pair.pump()
    (response,) = pair.of("client", h2.ResponseReceived)
    assert response.end_stream


def test_body_waits_for_the_window_and_trailers_for_the_body(pair: Pair) -> None:
    body = os.urandom(h2.STREAM_WINDOW + 300_000)
    stream = pair.client.send_request(REQUEST, end_stream=True)
    pair.pump()
    pair.server.send_response(stream, OK)
    pair.server.send_data(stream, body)
    pair.server.send_trailers(stream, STATUS)
    pair.pump()
    assert len(pair.body("client")) == h2.STREAM_WINDOW
    assert pair.server.queued_body_size(stream) == 300_000
    assert pair.server.queued_body_size() == 300_000
    assert not pair.of("client", h2.TrailersReceived)
    pair.client.acknowledge_received_data(h2.STREAM_WINDOW, stream)
    pair.pump()
    assert pair.body("client") == body
    assert pair.of("client", h2.TrailersReceived)
    assert pair.server.queued_body_size() == 0


def test_acknowledging_after_the_end_keeps_the_connection_window(pair: Pair) -> None:
    chunk = b"x" * 60_000
    for _ in range(3 * h2.CONNECTION_WINDOW // h2.STREAM_WINDOW // 2):
        stream = pair.client.send_request(REQUEST)
        for _ in range(10):
            pair.client.send_data(stream, chunk)
        pair.pump()
        assert len(pair.body("server")) == 600_000
        pair.client.reset_stream(stream)
        pair.pump()
        pair.server.acknowledge_received_data(600_000, stream)
        pair.clear()


def test_reset_drops_what_is_queued_and_is_told(pair: Pair) -> None:
    stream = pair.client.send_request(REQUEST)
    pair.client.send_data(stream, b"x" * (2 << 20))
    pair.pump()
    pair.client.reset_stream(stream, h2.CANCEL)
    pair.pump()
    (reset,) = pair.of("server", h2.StreamReset)
    assert (reset.stream_id, reset.error_code) == (stream, h2.CANCEL)
    assert pair.client.queued_body_size() == 0
    with pytest.raises(h2.SessionError):
        pair.server.send_response(stream, OK)
    pair.server.reset_stream(stream)


def test_streams_beyond_the_limit_wait(pair: Pair, request: pytest.FixtureRequest) -> None:
    pair = Pair(*request.node.callspec.params["pair"], max_streams=3)
    streams = [pair.client.send_request(REQUEST, end_stream=True) for _ in range(5)]
    pair.pump()
    assert [event.stream_id for event in pair.of("server", h2.RequestReceived)] == streams[:3]
    pair.server.send_response(streams[0], OK, end_stream=True)
    pair.pump()
    assert [event.stream_id for event in pair.of("server", h2.RequestReceived)] == streams[:4]


def test_a_waiting_stream_can_be_given_up(pair: Pair, request: pytest.FixtureRequest) -> None:
    pair = Pair(*request.node.callspec.params["pair"], max_streams=1)
    first = pair.client.send_request(REQUEST, end_stream=True)
    second = pair.client.send_request(REQUEST, end_stream=True)
    third = pair.client.send_request(REQUEST, end_stream=True)
    pair.pump()
    pair.client.reset_stream(second)
    pair.server.send_response(first, OK, end_stream=True)
    pair.pump()
    served = [event.stream_id for event in pair.of("server", h2.RequestReceived)]
    assert served == [first, third]


def test_shutdown_notice_serves_what_is_under_way_and_refuses_the_rest(pair: Pair) -> None:
    early = pair.client.send_request(REQUEST, end_stream=True)
    pair.pump()
    pair.server.send_shutdown_notice()
    late = pair.client.send_request(REQUEST, end_stream=True)
    pair.move(pair.client, pair.server, "server")
    assert [event.stream_id for event in pair.of("server", h2.RequestReceived)] == [early, late]
    pair.pump()
    (notice,) = pair.of("client", h2.GoAwayReceived)
    assert notice.last_stream_id == (1 << 31) - 1
    assert not pair.client.can_send_request
    with pytest.raises(h2.SessionError):
        pair.client.send_request(REQUEST)
    pair.server.send_goaway()
    for stream in (early, late):
        pair.server.send_response(stream, OK, end_stream=True)
    pair.pump()
    assert [event.stream_id for event in pair.of("client", h2.ResponseReceived)] == [early, late]
    assert pair.of("client", h2.GoAwayReceived)[-1].last_stream_id == late


def test_streams_after_goaway_come_back_refused(pair: Pair) -> None:
    served = pair.client.send_request(REQUEST, end_stream=True)
    pair.pump()
    pair.server.send_goaway(h2.ENHANCE_YOUR_CALM, debug_data=b"too_many_pings")
    on_its_way = pair.server.data_to_send()
    late = pair.client.send_request(REQUEST, end_stream=True)
    pair.move(pair.client, pair.server, "server")
    pair.client.receive_data(on_its_way)
    pair.pump()
    assert [event.stream_id for event in pair.of("server", h2.RequestReceived)] == [served]
    (goaway,) = pair.of("client", h2.GoAwayReceived)
    assert goaway.error_code == h2.ENHANCE_YOUR_CALM
    assert goaway.debug_data == b"too_many_pings"
    (closed,) = pair.of("client", h2.StreamClosed)
    assert (closed.stream_id, closed.error_code) == (late, h2.REFUSED_STREAM)


def test_pings_are_answered(pair: Pair) -> None:
    pair.client.ping(b"01234567")
    pair.pump()
    assert [event.opaque_data for event in pair.of("server", h2.PingReceived)] == [b"01234567"]
    assert [event.opaque_data for event in pair.of("client", h2.PingAcknowledged)] == [b"01234567"]


def test_settings_are_told() -> None:
    for client, server in PAIRS:
        pair = Pair(client, server)
        fresh = h2.client_session(max_header_list=8192, engine=client)
        server_side = h2.server_session(max_streams=7, max_header_list=8192, engine=server)
        fresh.receive_data(server_side.data_to_send())
        (event,) = [event for event in fresh.events() if type(event) is h2.SettingsReceived]
        assert dict(event.settings)[h2.MAX_CONCURRENT_STREAMS] == 7
        assert dict(event.settings)[h2.MAX_HEADER_LIST_SIZE] == 8192
        assert not pair.seen["client"]


def test_header_list_is_limited(pair: Pair) -> None:
    pair.client.send_request([*REQUEST, (b"big", os.urandom(6_000).hex().encode())])
    with pytest.raises(h2.SessionError):
        pair.pump()


def test_rapid_resets_end_the_connection(pair: Pair) -> None:
    def attack() -> None:
        for _ in range(h2.RESET_BURST * 4):
            stream = pair.client.send_request(REQUEST, end_stream=True)
            pair.move(pair.client, pair.server, "server")
            pair.client.reset_stream(stream)
            pair.move(pair.client, pair.server, "server")
            if any(type(e) is h2.GoAwayReceived for e in _told(pair)):
                raise h2.SessionError("told to go away")

    with pytest.raises(h2.SessionError):
        attack()


def _told(pair: Pair) -> list[Any]:
    data = pair.server.data_to_send()
    if data:
        pair.client.receive_data(data)
    return pair.client.events()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff" * 64])
def test_garbage_ends_the_connection(engine: Engine, garbage: bytes) -> None:
    session = h2.server_session(max_streams=10, max_header_list=8192, engine=engine)
    with pytest.raises(h2.SessionError):
        session.receive_data(garbage)


@pytest.mark.parametrize("pair_of", PAIRS, ids=["-".join(pair) for pair in PAIRS])
@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60), bodies=st.integers(1, 4))
def test_how_bytes_are_cut_does_not_matter(
    pair_of: tuple[Engine, Engine], sizes: list[int], bodies: int
) -> None:
    client, server = pair_of
    source = h2.client_session(max_header_list=8192, engine=client)
    target = h2.server_session(max_streams=100, max_header_list=8192, engine=server)
    source.receive_data(target.data_to_send())
    for number in range(bodies):
        stream = source.send_request(REQUEST)
        source.send_data(stream, b"%d" % number * 20, end_stream=True)
    data = source.data_to_send()
    events: list[Any] = []
    position, turn = 0, 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        target.receive_data(data[position : position + size])
        events += target.events()
        position, turn = position + size, turn + 1
    requests = [event for event in events if type(event) is h2.RequestReceived]
    assert len(requests) == bodies
    for number, request in enumerate(requests):
        own = [e for e in events if type(e) is h2.DataReceived and e.stream_id == request.stream_id]
        assert b"".join(event.data for event in own) == b"%d" % number * 20
        assert own[-1].end_stream


def test_environment_chooses_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAPR_HTTP2_ENGINE", "h2")
    assert h2._default_engine() == "h2"
    monkeypatch.delenv("DAPR_HTTP2_ENGINE")
    assert h2._default_engine() == "ngh2"
