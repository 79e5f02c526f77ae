"""An HTTP/1.1 app that keeps each request as it stood on the wire and answers with bytes.

``answers`` maps a path to bytes, or to a function that gets the socket and the request. The
default is an empty 200. ``streams`` maps a path to a function that reads the body itself; it gets
the socket, what is read from it and the head.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO, Self

from harness.programs import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class RawRequest:
    """One request: names in the case they had, in their order."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def values(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for given, value in self.headers if given.lower() == name.lower()]

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}


Stream = Callable[[socket.socket, BinaryIO, RawRequest], None]
Answer = bytes | Callable[[socket.socket, RawRequest], None]


class RawApp:
    """Serves from threads of its own, so that it works beside any test."""

    def __init__(self) -> None:
        self.port = free_port()
        self.answers: dict[str, Answer] = {}
        self.streams: dict[str, Stream] = {}
        self.seen: list[RawRequest] = []
        self._news = threading.Condition()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()

    def start(self) -> None:
        """Listen on ``port``."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Close the port and every connection."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(self, path: str, count: int = 1, seconds: float = 30.0) -> list[RawRequest]:
        """The first requests to a path, once they came."""

        def found() -> list[RawRequest]:
            return [request for request in self.seen if request.path == path]

        with self._news:
            assert self._news.wait_for(lambda: len(found()) >= count, seconds), path
            return found()[:count]

    def last(self) -> RawRequest:
        """The newest request."""
        return self.seen[-1]

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self._open.add(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection:
            reader = connection.makefile("rb")
            while (head := _read_head(reader)) is not None:
                if (stream := self.streams.get(head.path)) is not None:
                    stream(connection, reader, head)
                else:
                    self._answer(connection, replace(head, body=_read_body(reader, head)))
        self._open.discard(connection)

    def _answer(self, connection: socket.socket, request: RawRequest) -> None:
        with self._news:
            self.seen.append(request)
            self._news.notify_all()
        answer = self.answers.get(request.path, OK)
        if isinstance(answer, bytes):
            connection.sendall(answer)
        else:
            answer(connection, request)


def _read_head(reader: BinaryIO) -> RawRequest | None:
    """The next request of a connection, its body still to come; ``None`` at the end."""
    first = reader.readline().decode("latin-1").strip()
    if not first:
        return None
    method, target, _ = first.split(" ")
    headers: list[tuple[str, str]] = []
    while line := reader.readline().decode("latin-1").rstrip("\r\n"):
        name, _, value = line.partition(": ")
        headers.append((name, value))
    return RawRequest(method, target, headers, b"")


def _read_body(reader: BinaryIO, head: RawRequest) -> bytes:
    if head.values("transfer-encoding") != ["chunked"]:
        return reader.read(int(*head.values("content-length")))
    body = b""
    while size := int(reader.readline(), 16):
        body += reader.read(size)
        reader.readline()
    reader.readline()
    return body
