"""HTTP as a plain client speaks it, and bytes on a socket for what no client would send."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A whole answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The ``errorCode`` of an error body."""
        return str(self.json["errorCode"])


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def call(
    where: int | str,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    *,
    host: str = "127.0.0.1",
    timeout: float = 20.0,
) -> Answer:
    """One request to a port of ``host`` or to a Unix socket; a body is bytes or made JSON."""
    connection = (
        _UnixConnection(where, timeout)
        if isinstance(where, str)
        else http.client.HTTPConnection(host, where, timeout=timeout)
    )
    try:
        given = dict(headers or {})
        data = body if isinstance(body, bytes) else None
        if data is None and body is not None:
            data = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        connection.request(method, path, data, given)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


async def acall(*arguments: Any, **named: Any) -> Answer:
    """``call`` without blocking the loop."""
    return await asyncio.to_thread(call, *arguments, **named)


def exchange(port: int, data: bytes, *, timeout: float = 20.0) -> bytes:
    """Send bytes, then read until the peer closes."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(data)
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            pass  # closed with bytes unread: what came before counts
        return received
