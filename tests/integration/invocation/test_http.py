"""HTTP to HTTP, on the wire: what an app gets, and what a client gets back."""

from __future__ import annotations

import base64
import socket
import threading
from typing import BinaryIO

import pytest
from harness.http_call import call, exchange
from harness.raw_app import RawRequest
from harness.sidecar_pair import Pair

WHERE = pytest.mark.parametrize("where", ["local", "remote"])
HOP = {"dapr-caller-app-id", "dapr-callee-app-id", "dapr-caller-namespace"}
FORWARDED = {"forwarded", "x-forwarded-for", "x-forwarded-host"}


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = (
    b"HTTP/1.1 503 X\r\nContent-Type: text/x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1\r\na\r\n2\r\nbc\r\n0\r\nX-T: 1\r\n\r\n"
)
FULL = (
    b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: app/1\r\n"
    b"Connection: x-mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nX-Bin-Bin: AA==\r\n"
    b"Content-Encoding: gzip\r\nVary: a\r\nContent-Length: 0\r\n\r\n"
)


def raw(pair: Pair, head: str, body: bytes = b"") -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Bytes to the sidecar that calls; status line, headers and what follows them."""
    data = f"{head}\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1") + body
    answer = exchange(pair.front.http_port, data)
    top, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = top.split(b"\r\n")
    pairs = [line.split(b": ", 1) for line in lines]
    return first, {name.lower(): value for name, value in pairs}, rest


# --- what an app gets ---------------------------------------------------------------------------


@WHERE
@pytest.mark.parametrize(
    ("method", "seen"),
    [
        *((verb, verb) for verb in ("GET", "HEAD", "POST", "PUT", "DELETE")),
        *((verb, verb) for verb in ("OPTIONS", "TRACE", "PATCH")),
        ("PROPFIND", "POST"),
        ("BREW", "POST"),
        ("patch", "PATCH"),
    ],
)
def test_verbs(pair: Pair, where: str, method: str, seen: str) -> None:
    first, _, _ = raw(pair, f"{method} {pair.method(where, 'x')} HTTP/1.1")
    assert first == b"HTTP/1.1 200 OK"
    assert pair.app.last().method == seen


@WHERE
@pytest.mark.parametrize("method", ["CONNECT", "NONE"])
def test_verbs_no_app_can_be_called_with(pair: Pair, where: str, method: str) -> None:
    # The path of a CONNECT is an authority, so its target comes in a header.
    head = f"{method} x:1 HTTP/1.1\r\ndapr-app-id: {pair.target(where)}"
    if method == "NONE":
        head = f"{method} {pair.method(where, 'x')} HTTP/1.1"
    first, headers, body = raw(pair, head)
    assert first == b"HTTP/1.1 500 Internal Server Error"
    assert headers[b"content-type"] == b"application/json"
    assert b"ERR_DIRECT_INVOKE" in body
    assert b"invalid HTTP verb" in body
    assert not pair.app.seen


@WHERE
@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("plain", "/plain"),
        ("", "/"),
        ("/", "/"),
        ("a//b/./c/../d/", "/a/b/d"),
        ("..%2F..%2Fx", "/x"),
        ("a%2Fb%20c", "/a/b%20c"),
        ("100%25", "/100%25"),
        ("caf%C3%A9", "/caf%C3%A9"),
        ("a+b;c=d,e@f:g!$&'()*~_-.", "/a+b;c=d,e@f:g!$&'()*~_-."),
        ("%22%3C%3E%5C%5E%60%7B%7C%7D%5B%5D", "/%22%3C%3E%5C%5E%60%7B%7C%7D%5B%5D"),
        ("x?a=1&a=2&b=%2F+%20&c&=&d=%C3%A9;f", "/x?a=1&a=2&b=%2F+%20&c&=&d=%C3%A9;f"),
        # Bytes that should have been escaped are, before anything else is looked at.
        ("café?q=é", "/caf%C3%A9?q=%C3%A9"),
        ("x?q=a/../b//c?d", "/x?q=a/../b//c?d"),
        ("x?", "/x"),
    ],
)
def test_paths_and_queries(pair: Pair, where: str, given: str, wanted: str) -> None:
    given = given.encode().decode("latin-1")
    first, _, body = raw(pair, f"GET {pair.method(where, given)} HTTP/1.1")
    assert first == b"HTTP/1.1 200 OK", body
    assert pair.app.last().target.encode("latin-1").decode() == wanted


@WHERE
@pytest.mark.parametrize("method", ["a%23b", "a%3Fb", "a%00b", "a%0Ab", "a%7Fb", "a%1Fb"])
def test_methods_with_forbidden_characters(pair: Pair, where: str, method: str) -> None:
    answer = call(pair.front.http_port, "GET", pair.method(where, method))
    assert (answer.status, answer.code) == (500, "ERR_DIRECT_INVOKE")
    assert (
        "err: rpc error: code = InvalidArgument desc = invalid method: " in answer.json["message"]
    )
    assert not pair.app.seen


@WHERE
def test_headers_of_a_call(pair: Pair, where: str) -> None:
    head = (
        f"POST {pair.method(where, 'x')} HTTP/1.1\r\n"
        "Content-Type: text/x; a=b\r\nContent-Length: 5\r\n"
        "connection: X-Drop ,x-drop-2\r\nX-DROP: 1\r\nx-drop-2: 2\r\n"
        "Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nProxy-Authorization: Basic eA==\r\n"
        "Proxy-Authenticate: x\r\nTE: trailers\r\nTrailer: x\r\nHTTP2-Settings: x\r\n"
        "x-many: 1\r\nX-Many: 2\r\nx-many: \r\n"
        "baggage: k=v,z=1;p\r\nbaggage: second=1\r\n"
        "x-raw-bin: AAE=\r\ngrpc-thing: g\r\n"
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
        "tracestate: a=b\r\ngrpc-trace-bin: AAAA\r\n"
        "destination-app-id: evil\r\n"
        "user-agent: me/1\r\nAuthorization: Bearer t\r\nCookie: a=b; c=d\r\n"
        "Accept-Encoding: br\r\nX_under: u\r\nDate: yesterday\r\ndapr-api-token: mine"
    )
    first, _, _ = raw(pair, head, b"hello")
    assert first == b"HTTP/1.1 200 OK"
    seen = pair.app.last()
    assert seen.body == b"hello"
    expected = {
        "Content-Type": ["text/x; a=b"],
        "Content-Length": ["5"],
        "X-Many": ["1", "2", ""],
        "Baggage": ["k=v,z=1;p"],
        "Dapr-Grpc-Thing": ["g"],
        "Tracestate": ["a=b"],
        "User-Agent": ["me/1"],
        "Authorization": ["Bearer t"],
        "Cookie": ["a=b; c=d"],
        "Accept-Encoding": ["br"],
        "X_under": ["u"],
        "Date": ["yesterday"],
        "Dapr-Api-Token": ["mine"],
        "Host": [f"127.0.0.1:{pair.app.port}"],
    }
    (traced,) = seen.values("traceparent")
    assert traced.startswith("00-0af7651916cd43dd8448eb211c80319c-")
    added = {name for name, _ in seen.headers} - {*expected, "Traceparent"}
    assert {name: seen.values(name) for name in expected} == expected
    assert {name.lower() for name in added} == (HOP | FORWARDED if where == "remote" else set())


def test_forwarding_headers_are_added_to_those_that_came(pair: Pair) -> None:
    head = (
        f"GET {pair.method('remote', 'x')} HTTP/1.1\r\n"
        "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: outer\r\nForwarded: for=1.2.3.4\r\n"
        "Dapr-Caller-App-Id: evil\r\nDapr-Callee-App-Id: evil\r\nDapr-Caller-Namespace: evil"
    )
    raw(pair, head)
    seen, host = pair.app.last(), socket.gethostname()
    assert seen.values("x-forwarded-for") == ["1.2.3.4", "127.0.0.1"]
    assert seen.values("x-forwarded-host") == ["outer", host]
    assert seen.values("forwarded") == [
        "for=1.2.3.4",
        f"for=127.0.0.1;by=127.0.0.1;host={host}",
    ]
    assert seen.values("dapr-caller-app-id") == [pair.front.app_id]
    assert seen.values("dapr-callee-app-id") == [pair.back.app_id]
    assert seen.values("dapr-caller-namespace") == ["default"]


@WHERE
def test_targets_in_header_and_credentials(pair: Pair, where: str) -> None:
    target = pair.target(where)
    raw(pair, f"GET /a//b%2Fc/?q=/x//y HTTP/1.1\r\nDAPR-APP-ID: {target}")
    assert pair.app.last().target == "/a/b/c?q=/x//y"
    assert "dapr-app-id" not in pair.app.last().names
    given = "Basic " + base64.b64encode(f"Dapr-App-Id:{target}".encode()).decode()
    raw(pair, f"DELETE /v1.0/state HTTP/1.1\r\nAuthorization: {given}")
    assert (pair.app.last().method, pair.app.last().target) == ("DELETE", "/v1.0/state")
    assert pair.app.last().values("authorization") == [given]
    # A route of the API is never anything else.
    first, _, _ = raw(pair, f"GET /v1.0/healthz HTTP/1.1\r\ndapr-app-id: {target}")
    assert first == b"HTTP/1.1 204 No Content"


@pytest.mark.parametrize(
    ("suffix", "status", "text"),
    [
        (".default", 200, ""),
        (".a.b", 500, "invalid app id {id}.a.b"),
    ],
)
def test_namespaces(pair: Pair, suffix: str, status: int, text: str) -> None:
    for where in ("local", "remote"):
        target = pair.target(where)
        answer = call(pair.front.http_port, "GET", f"/v1.0/invoke/{target}{suffix}/method/x")
        assert answer.status == status
        if text:
            shown = text.format(id=target)
            assert answer.json["message"] == (
                f"failed to invoke, id: {target}{suffix}, err: {shown}"
            )


# --- bodies -------------------------------------------------------------------------------------


@WHERE
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_bodies_without_a_length(pair: Pair, where: str, method: str) -> None:
    head = f"{method} {pair.method(where, 'x')} HTTP/1.1\r\nTransfer-Encoding: chunked"
    raw(pair, head, b"3;ext=1\r\nabc\r\n5\r\nhello\r\n0\r\nX-Trailer: t\r\n\r\n")
    seen = pair.app.last()
    assert seen.body == b"abchello"
    assert seen.values("x-trailer") == []


@WHERE
def test_bodies_that_take_their_time_are_chunked(pair: Pair, where: str) -> None:
    """The app is asked before the body has an end, even before it has a beginning."""
    arrived: list[bytes] = []
    asked, half = threading.Event(), threading.Event()

    def slowly(connection: socket.socket, reader: BinaryIO, head: RawRequest) -> None:
        asked.set()
        assert head.values("transfer-encoding") == ["chunked"]
        arrived.append(reader.readline() + reader.readline())
        half.set()
        arrived.append(reader.read(len(b"4\r\nrest\r\n0\r\n\r\n")))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    pair.app.streams["/slow"] = slowly
    with socket.create_connection(("127.0.0.1", pair.front.http_port), 20) as client:
        client.sendall(
            f"POST {pair.method(where, 'slow')} HTTP/1.1\r\nHost: x\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        assert asked.wait(20)
        client.sendall(b"3\r\nabc\r\n")
        assert half.wait(20)
        client.sendall(b"4\r\nrest\r\n0\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    assert arrived == [b"3\r\nabc\r\n", b"4\r\nrest\r\n0\r\n\r\n"]


@WHERE
def test_calls_without_a_body_claim_none(pair: Pair, where: str) -> None:
    for method, wanted in (("GET", []), ("DELETE", []), ("OPTIONS", []), ("POST", ["0"])):
        raw(pair, f"{method} {pair.method(where, 'x')} HTTP/1.1")
        assert pair.app.last().values("content-length") == wanted
        assert pair.app.last().values("transfer-encoding") == []


@WHERE
def test_the_body_is_asked_for(pair: Pair, where: str) -> None:
    """``Expect: 100-continue``: the client sends its body once it was told to."""
    with socket.create_connection(("127.0.0.1", pair.front.http_port), 20) as client:
        client.sendall(
            f"POST {pair.method(where, 'x')} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"body")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        assert pair.app.last().body == b"body"


def test_the_body_is_not_asked_for_when_nobody_wants_it(pair: Pair) -> None:
    with socket.create_connection(("127.0.0.1", pair.front.http_port), 20) as client:
        client.sendall(
            b"POST /v1.0/invoke/http://127.0.0.1:1.5/method/x HTTP/1.1\r\nHost: x\r\n"
            b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(65536).startswith(b"HTTP/1.1 500 ")


@WHERE
def test_a_body_over_the_limit_fails_the_call(pair: Pair, where: str) -> None:
    limit = 4 << 20
    answer = call(pair.front.http_port, "POST", pair.method(where, "x"), b"x" * limit)
    assert answer.status == 200
    head = f"POST {pair.method(where, 'x')} HTTP/1.1\r\nContent-Length: {limit + 1}"
    first, _, body = raw(pair, head)
    assert first == b"HTTP/1.1 500 Internal Server Error"
    assert b"stream too large" in body


# --- answers ------------------------------------------------------------------------------------


@WHERE
@pytest.mark.parametrize(
    ("answer", "status", "headers", "body"),
    [
        # Informational answers are the connection's own.
        (
            HINTS + b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok",
            b"201 Created",
            {},
            b"ok",
        ),
        (b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", b"204 No Content", {b"x-a": b"b"}, b""),
        (
            b"HTTP/1.1 304 Not Modified\r\nETag: e\r\nContent-Length: 7\r\n\r\n",
            b"304 Not Modified",
            {b"etag": b"e"},
            b"",
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 4\r\n\r\ngone",
            b"302 Found",
            {b"location": b"/y"},
            b"gone",
        ),
        # Errors: typed as JSON when the app gave no type.
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx",
            b"404 Not Found",
            {b"content-type": b"application/json", b"content-length": b"1"},
            b"x",
        ),
        (
            CHUNKED,
            b"503 Service Unavailable",
            {b"content-type": b"text/x", b"content-length": b"3"},
            b"abc",
        ),
        (
            b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
            b"500 Internal Server Error",
            {b"content-type": b"application/json", b"content-length": b"0"},
            b"",
        ),
        # What belongs to the app's connection, and what belongs to the answer.
        (
            FULL,
            b"200 OK",
            {
                b"date": b"Thu, 01 Jan 1970 00:00:00 GMT",
                b"server": b"app/1",
                b"content-encoding": b"gzip",
                b"vary": b"a",
            },
            b"",
        ),
        (b"HTTP/1.1 299 Odd\r\nContent-Length: 0\r\n\r\n", b"299 status code 299", {}, b""),
    ],
)
def test_answers(
    pair: Pair, where: str, answer: bytes, status: bytes, headers: dict[bytes, bytes], body: bytes
) -> None:
    pair.app.answers["/x"] = answer
    first, found, rest = raw(pair, f"GET {pair.method(where, 'x')} HTTP/1.1")
    assert first == b"HTTP/1.1 " + status
    assert {name: found.get(name) for name in headers} == headers
    assert rest == body
    for gone in (b"x-mine", b"keep-alive", b"x-bin-bin", b"x-t", b"transfer-encoding"):
        assert gone not in found
    assert b"traceparent" in found


@WHERE
def test_answers_of_unknown_length(pair: Pair, where: str) -> None:
    def until_close(connection: socket.socket, _: RawRequest) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/x\r\n\r\nsome")
        connection.sendall(b"thing")
        connection.shutdown(socket.SHUT_RDWR)

    pair.app.answers["/x"] = until_close
    answer = call(pair.front.http_port, "GET", pair.method(where, "x"))
    assert (answer.status, answer.body) == (200, b"something")


@WHERE
def test_head_gets_the_head_alone(pair: Pair, where: str) -> None:
    pair.app.answers["/x"] = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nContent-Type: text/x\r\nX-A: b\r\n\r\n"
    )
    first, headers, rest = raw(pair, f"HEAD {pair.method(where, 'x')} HTTP/1.1")
    assert (first, rest) == (b"HTTP/1.1 200 OK", b"")
    assert (headers[b"x-a"], headers[b"content-type"]) == (b"b", b"text/x")
    assert b"content-length" not in headers


@WHERE
def test_an_answer_that_breaks_off_breaks_off_for_the_client(pair: Pair, where: str) -> None:
    def half(connection: socket.socket, _: RawRequest) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf")
        connection.shutdown(socket.SHUT_RDWR)

    pair.app.answers["/x"] = half
    answer = exchange(
        pair.front.http_port, f"GET {pair.method(where, 'x')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not answer.endswith(b"0\r\n\r\n")


@WHERE
def test_an_app_that_hangs_up_is_an_error(pair: Pair, where: str) -> None:
    pair.app.answers["/x"] = lambda connection, _: connection.shutdown(socket.SHUT_RDWR)
    answer = call(pair.front.http_port, "POST", pair.method(where, "x"), b"once")
    assert (answer.status, answer.code) == (500, "ERR_DIRECT_INVOKE")
    assert answer.json["message"].startswith(f"failed to invoke, id: {pair.target(where)}, err: ")
    assert len(pair.app.seen) == 1


@WHERE
def test_events_arrive_as_they_happen(pair: Pair, where: str) -> None:
    go_on = threading.Event()

    def events(connection: socket.socket, _: RawRequest) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=x\r\n"
            b"Cache-Control: private\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(b"9\r\ndata: 1\n\n\r\n")
        assert go_on.wait(20)
        connection.sendall(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    pair.app.answers["/x"] = events
    with socket.create_connection(("127.0.0.1", pair.front.http_port), 20) as client:
        client.sendall(
            f"GET {pair.method(where, 'x')} HTTP/1.1\r\nHost: x\r\n"
            "Accept: Text/Event-Stream\r\n\r\n".encode()
        )
        received = b""
        while b"data: 1\n\n" not in received:
            received += client.recv(65536)
        head = received.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
        assert b"content-type: text/event-stream" in head
        assert b"cache-control: no-cache" in head
        assert b"connection: keep-alive" in head
        assert b"x-a: b" in head
        assert not any(line.startswith(b"content-length") for line in head)
        go_on.set()
        while not received.endswith(b"0\r\n\r\n"):
            received += client.recv(65536)
        assert b"data: 2\n\n" in received


@WHERE
@pytest.mark.parametrize("events", [b"", b"data: 1\n\n"])
def test_events_that_are_over_are_a_stream_all_the_same(
    pair: Pair, where: str, events: bytes
) -> None:
    pair.app.answers["/x"] = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (
        len(events),
        events,
    )
    answer = call(
        pair.front.http_port,
        "GET",
        pair.method(where, "x"),
        headers={"Accept": "text/event-stream"},
    )
    assert (answer.status, answer.body) == (200, events)
    assert answer.headers["content-type"] == "text/event-stream"
    assert "content-length" not in answer.headers


@WHERE
def test_an_error_is_no_event_stream(pair: Pair, where: str) -> None:
    pair.app.answers["/x"] = b"HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\nno"
    answer = call(
        pair.front.http_port,
        "GET",
        pair.method(where, "x"),
        headers={"Accept": "text/event-stream"},
    )
    assert (answer.status, answer.body) == (500, b"no")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == "2"
