"""The application of the end-to-end tests: it keeps what it is sent, and shows it.

Only the standard library: it runs in the sidecar's own image, from a ConfigMap.
"""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SUBSCRIPTIONS = [{"pubsubname": "pubsub", "topic": "events", "route": "/events"}]
received: list[object] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer leaves in one piece: in two, the second waits until the first was acknowledged.
    wbufsize = -1

    def do_GET(self) -> None:
        if self.path == "/dapr/subscribe":
            self.answer(SUBSCRIPTIONS)
        elif self.path == "/received":
            self.answer(received)
        elif self.path == "/who":
            self.answer(os.environ["HOSTNAME"])
        else:
            self.answer(f"nothing at {self.path}", 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/events":
            received.append(json.loads(body)["data"])
        self.answer({"status": "SUCCESS"})

    def answer(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        return


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
