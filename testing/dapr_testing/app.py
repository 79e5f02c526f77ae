"""An application of a test: one Python function behind an HTTP server on a free port."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Request:
    """What the sidecar asks of the app; ``path`` keeps its query, header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body. Raises ``ValueError`` when it is no JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What the app says; a body that is neither text nor bytes is written as JSON."""

    body: object = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], object]
"""Gives an ``Answer``, or just its body; ``None`` is 404, and an exception 500.

It is called from several threads.
"""


class HttpApp:
    """Serves a handler from ``start`` to ``stop``, or as a context manager."""

    def __init__(self, handler: Handler) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _server_class(handler))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="dapr-test-app", daemon=True
        )
        self.port: int = self._server.server_address[1]

    def start(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _server_class(handler: Handler) -> type[BaseHTTPRequestHandler]:
    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer: in two, the second waits for an acknowledgement

        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, self.rfile.read(length))
            answer = _answered(handler, request)
            body = _bytes(answer.body)
            self.send_response(answer.status)
            kind = "text/plain" if isinstance(answer.body, str | bytes) else "application/json"
            for name, value in {"Content-Type": kind, **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def __getattr__(self, name: str) -> Any:
            """Every method is served alike: the library looks for ``do_GET`` and so on."""
            if name.startswith("do_"):
                return self._serve
            raise AttributeError(name)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
            return

    return Server


def _answered(handler: Handler, request: Request) -> Answer:
    """A handler that raises is an app that answers 500; its stack is among the test's output."""
    try:
        return _answer(handler(request))
    except Exception as error:  # noqa: BLE001 - whatever a test's function raises
        traceback.print_exc()
        return Answer(f"the app raised {type(error).__name__}: {error}", status=500)


def _answer(said: object) -> Answer:
    if said is None:
        return Answer(status=404)
    return said if isinstance(said, Answer) else Answer(said)


def _bytes(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()
