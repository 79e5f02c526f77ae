"""Orders: an app without an SDK. It says on which machine it is, and hosts actors that count."""

# ruff: noqa: D101, N815, S310 - an example of the standard library's own server and client

from __future__ import annotations

import json
import os
import socket
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SIDECAR = f"http://127.0.0.1:{os.environ.get('DAPR_HTTP_PORT', '3500')}/v1.0"
MACHINE = socket.gethostname()
SECONDS = 10.0


def add(actor: str) -> int:
    """Add one to what the actor has counted so far, wherever that was."""
    state = f"{SIDECAR}/actors/order/{actor}/state"
    with urllib.request.urlopen(f"{state}/count", timeout=SECONDS) as answer:
        count = 1 + json.loads(answer.read() or "0")
    change = [{"operation": "upsert", "request": {"key": "count", "value": count}}]
    request = urllib.request.Request(
        state, json.dumps(change).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=SECONDS).close()
    return count


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/dapr/config":
            self.reply({"entities": ["order"]})
        elif self.path == "/where":
            self.reply({"machine": MACHINE})
        else:
            self.reply({})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = self.path.split("/")  # /actors/order/<id>/method/add
        if parts[-2:] == ["method", "add"]:
            self.reply({"machine": MACHINE, "count": add(parts[3])})
        else:
            self.reply({})

    do_POST = do_DELETE = do_PUT

    def reply(self, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Not one line for each request."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), App).serve_forever()
