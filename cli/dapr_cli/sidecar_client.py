"""HTTP to a sidecar of this machine, over its port or its Unix socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dapr_cli.errors import reason

DEFAULT_SECONDS = 5.0


class SidecarError(Exception):
    """The sidecar could not be reached, or broke the connection."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole response."""

    status: int
    reason: str
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 400

    @property
    def status_line(self) -> str:
        return f"{self.status} {self.reason}".rstrip()


@dataclass(frozen=True, slots=True)
class SidecarClient:
    """Talks to one sidecar; every call opens a connection of its own."""

    http_port: int
    socket_path: str = ""
    token: str = field(default_factory=lambda: os.environ.get("DAPR_API_TOKEN", ""), repr=False)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = DEFAULT_SECONDS,
    ) -> Answer:
        """Send a request and read the answer. Raises ``SidecarError``."""
        sent = dict(headers or {})
        if self.token:
            sent["dapr-api-token"] = self.token
        connection = self._connect(seconds)
        try:
            connection.request(method, path, body=body, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, response.reason, response.read())
        except (OSError, http.client.HTTPException) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            raise SidecarError(f"{self.target}: {why or type(error).__name__}") from error
        finally:
            connection.close()

    @property
    def target(self) -> str:
        """What messages call the sidecar's address."""
        return self.socket_path or f"127.0.0.1:{self.http_port}"

    def look(self, path: str, seconds: float = DEFAULT_SECONDS) -> Answer:
        """GET what a sidecar says of itself. Raises ``SidecarError``."""
        # A parent that is not sampled: looking shall not fill the traces of who is looked at.
        parent = f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-00"
        return self.call("GET", path, headers={"traceparent": parent}, seconds=seconds)

    def metadata(self) -> dict[str, Any]:
        """The body of ``GET /v1.0/metadata``. Raises ``SidecarError``."""
        answer = self.look("/v1.0/metadata")
        if answer.status != 200:
            raise SidecarError(f"{self.target}: metadata answered {answer.status_line}")
        try:
            body = json.loads(answer.body)
        except ValueError as error:
            raise SidecarError(f"{self.target}: metadata is no JSON") from error
        return body if isinstance(body, dict) else {}

    def set_metadata(self, key: str, value: str) -> None:
        """Add an entry to the ``extended`` map. Raises ``SidecarError``."""
        headers = {"Content-Type": "text/plain"}
        answer = self.call("PUT", f"/v1.0/metadata/{key}", value.encode(), headers)
        if not answer.ok:
            raise SidecarError(f"{self.target}: metadata answered {answer.status_line}")

    def is_ready(self, *, with_app: bool = False) -> bool:
        """Whether the APIs serve, and ``with_app`` the app's port is open, too."""
        path = "/v1.0/healthz" if with_app else "/v1.0/healthz/outbound"
        try:
            return self.look(path, seconds=1.0).ok
        except SidecarError:
            return False

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        if self.socket_path:
            return _UnixConnection(self.socket_path, seconds)
        return http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=seconds)


def socket_path(directory: str, app_id: str, protocol: str = "http") -> str:
    """The Unix socket of a sidecar's API; "" when there is no such directory."""
    return f"{directory}/dapr-{app_id}-{protocol}.socket" if directory else ""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
