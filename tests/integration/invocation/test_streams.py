"""Big bodies pass through two sidecars without being kept anywhere."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import pytest
from harness.raw_app import RawApp, RawRequest
from harness.sidecar import Sidecar
from harness.sidecar_pair import Pair, names_in

MIB = 1 << 20
SIZE = 96
PIECE = b"x" * MIB
_GROWTH = 24 * MIB
WHERE = pytest.mark.parametrize("where", ["local", "remote"])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    config = names_in(tmp_path_factory.mktemp("names"))
    flags = [f"--max-body-size={SIZE}Mi"]
    with ExitStack() as stack:
        app = stack.enter_context(RawApp())
        back = stack.enter_context(Sidecar(app_port=app.port, config=config, flags=flags))
        front = stack.enter_context(Sidecar(app_port=app.port, config=config, flags=flags))
        yield Pair(front, back, app)


def most_memory(pair: Pair) -> list[int]:
    """The most either sidecar ever had in memory."""
    texts = [
        Path(f"/proc/{sidecar.process.pid}/status").read_text()
        for sidecar in (pair.front, pair.back)
    ]
    return [int(*re.findall(r"VmHWM:\s*(\d+) kB", text)) << 10 for text in texts]


def assert_small(before: list[int], after: list[int]) -> None:
    growth = [new - old for old, new in zip(before, after, strict=True)]
    assert max(growth) < _GROWTH, growth


def read_all(reader: BinaryIO, head: RawRequest) -> int:
    """The size of a body."""
    total = 0
    if head.values("transfer-encoding"):
        while size := int(reader.readline(), 16):
            total += len(reader.read(size))
            reader.readline()
        reader.readline()
        return total
    left = int(head.values("content-length")[0])
    while left:
        piece = reader.read(min(left, MIB))
        left -= len(piece)
        total += len(piece)
    return total


def count(connection: socket.socket, reader: BinaryIO, head: RawRequest) -> None:
    """Answer with the size of the body."""
    body = str(read_all(reader, head)).encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def connect(pair: Pair) -> socket.socket:
    return socket.create_connection(("127.0.0.1", pair.front.http_port), 60)


@WHERE
@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", f"Content-Length: {SIZE * MIB}"])
def test_requests(pair: Pair, where: str, framing: str) -> None:
    pair.app.streams["/count"] = count
    before = most_memory(pair)
    chunked = "chunked" in framing
    with connect(pair) as client:
        client.sendall(
            f"POST {pair.method(where, 'count')} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode()
        )
        for _ in range(SIZE):
            client.sendall(b"%x\r\n%b\r\n" % (MIB, PIECE) if chunked else PIECE)
        if chunked:
            client.sendall(b"0\r\n\r\n")
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"%d" % (SIZE * MIB))
    assert_small(before, most_memory(pair))


@WHERE
def test_answers_to_a_slow_reader(pair: Pair, where: str) -> None:
    """The app is held up when the client takes nothing, and goes on when it does."""
    sent = 0
    moved = threading.Event()

    def source(connection: socket.socket, reader: BinaryIO, head: RawRequest) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (SIZE * MIB))
        for _ in range(SIZE):
            connection.sendall(PIECE)
            sent += MIB
            moved.set()

    pair.app.streams["/source"] = source
    before = most_memory(pair)
    with connect(pair) as client:
        client.sendall(f"GET {pair.method(where, 'source')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        until = time.monotonic() + 20
        while moved.wait(0.5) and time.monotonic() < until:
            moved.clear()
        held = sent
        # What is under way is in the buffers of the sockets, whose size is the system's business.
        assert held < SIZE * MIB / 2
        received = 0
        while received < SIZE * MIB:
            piece = client.recv(MIB)
            assert piece
            received += len(piece)
    assert sent == SIZE * MIB
    assert_small(before, most_memory(pair))


@WHERE
def test_requests_to_a_slow_app(pair: Pair, where: str) -> None:
    """The client is held up when the app takes nothing."""
    go_on = threading.Event()

    def slow(connection: socket.socket, reader: BinaryIO, head: RawRequest) -> None:
        assert go_on.wait(30)
        count(connection, reader, head)

    pair.app.streams["/slow"] = slow
    before = most_memory(pair)
    with connect(pair) as client:
        client.sendall(
            f"PUT {pair.method(where, 'slow')} HTTP/1.1\r\nHost: x\r\n"
            f"Content-Length: {SIZE * MIB}\r\n\r\n".encode()
        )
        client.settimeout(0.5)
        sent = 0
        try:
            while sent < SIZE * MIB:
                sent += client.send(PIECE)
        except TimeoutError:
            pass
        assert sent < SIZE * MIB / 2
        client.settimeout(60)
        go_on.set()
        while sent < SIZE * MIB:
            sent += client.send(PIECE[: SIZE * MIB - sent])
        assert client.recv(65536).endswith(b"%d" % (SIZE * MIB))
    assert_small(before, most_memory(pair))


@WHERE
def test_both_directions_at_once(pair: Pair, where: str) -> None:
    """An app that sends back what it gets, while it gets it."""

    def echo(connection: socket.socket, reader: BinaryIO, head: RawRequest) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(reader.readline(), 16):
            data = reader.read(size)
            reader.readline()
            connection.sendall(b"%x\r\n%b\r\n" % (size, data))
        reader.readline()
        connection.sendall(b"0\r\n\r\n")

    pair.app.streams["/echo"] = echo
    with connect(pair) as client, client.makefile("rb") as reader:
        client.sendall(
            f"POST {pair.method(where, 'echo')} HTTP/1.1\r\nHost: x\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        for number in range(50):
            data = b"%d" % number
            client.sendall(b"%x\r\n%b\r\n" % (len(data), data))
            if not number:
                while reader.readline() != b"\r\n":
                    pass
            size = int(reader.readline(), 16)
            assert reader.read(size + 2) == data + b"\r\n"
        client.sendall(b"0\r\n\r\n")
        assert reader.readline() == b"0\r\n"


def test_slots_are_held_until_the_answer_was_read(tmp_path: Path) -> None:
    """``--app-max-concurrency``: the second call waits until the first one's body is through."""
    gate = threading.Event()

    def first(connection: socket.socket, reader: BinaryIO, head: RawRequest) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        assert gate.wait(20)
        connection.sendall(b"b")

    config = names_in(tmp_path)
    with (
        RawApp() as app,
        Sidecar(app_port=app.port, config=config, flags=["--app-max-concurrency=1"]) as back,
        Sidecar(config=config) as front,
    ):
        pair = Pair(front, back, app)
        app.streams["/first"] = first
        for sidecar in (front, back):
            gate.clear()
            app.seen.clear()
            with (
                socket.create_connection(("127.0.0.1", sidecar.http_port), 20) as one,
                socket.create_connection(("127.0.0.1", sidecar.http_port), 20) as two,
            ):
                line = "GET {} HTTP/1.1\r\nHost: x\r\n\r\n"
                one.sendall(line.format(pair.method("remote", "first")).encode())
                received = one.recv(65536)
                assert received.startswith(b"HTTP/1.1 200 OK\r\n")
                two.sendall(line.format(pair.method("remote", "second")).encode())
                two.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    two.recv(1)
                assert not app.seen
                gate.set()
                two.settimeout(20)
                assert two.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
                assert app.last().path == "/second"


def test_a_client_that_leaves_frees_its_slot(tmp_path: Path) -> None:
    left = threading.Event()

    def endless(connection: socket.socket, reader: BinaryIO, head: RawRequest) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                connection.sendall(b"x" * 1000)
                time.sleep(0.01)
        except OSError:
            left.set()

    config = names_in(tmp_path)
    with (
        RawApp() as app,
        Sidecar(app_port=app.port, config=config, flags=["--app-max-concurrency=1"]) as back,
        Sidecar(config=config) as front,
    ):
        pair = Pair(front, back, app)
        app.streams["/endless"] = endless
        for _ in range(3):
            left.clear()
            with connect(pair) as client:
                client.sendall(
                    f"GET {pair.method('remote', 'endless')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                )
                assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
            assert left.wait(30)
        with connect(pair) as client:
            client.sendall(f"GET {pair.method('remote', 'x')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
