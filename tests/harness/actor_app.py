"""An HTTP application without an SDK that hosts actors and writes down what reaches them.

``ACTOR_CONFIG`` is its ``/dapr/config``; each call takes ``ACTOR_SECONDS``. Each callback is a JSON
line: path, body, time.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_LOCK = threading.Lock()
_SECONDS = float(os.environ.get("ACTOR_SECONDS", "0"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        config = os.environ.get("ACTOR_CONFIG", '{"entities":["T"]}')
        self._reply(config.encode() if self.path == "/dapr/config" else b"")

    def do_PUT(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        line = {
            "path": self.path,
            "body": self.rfile.read(length).decode(),
            "time": time.time(),
        }
        with _LOCK:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
        time.sleep(_SECONDS)
        self._reply(b"")

    do_POST = do_DELETE = do_PUT  # noqa: N815

    def _reply(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


_Server(("127.0.0.1", int(os.environ["APP_PORT"])), _Handler).serve_forever()
