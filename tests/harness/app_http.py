"""The program behind ``RecordingApp``; its argument is the JSON of the routes."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ANSWERS: dict[str, list[dict[str, Any]]] = {}
_LOCK = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self._read_body()
        path, _, query = self.path.partition("?")
        with _LOCK:
            answer = _next_answer(f"{self.command} {path}")
            _report(
                method=self.command,
                path=path,
                query=query,
                headers={name.lower(): value for name, value in self.headers.items()},
                body=body.decode("utf-8", "replace"),
            )
        time.sleep(answer.get("delay", 0))
        content = answer.get("body", "").encode()
        headers = dict(answer.get("headers", {}))
        if "json" in answer:
            content = json.dumps(answer["json"]).encode()
            headers.setdefault("Content-Type", "application/json")
        self.send_response(answer.get("status", 200))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the base class asks for them
    do_PATCH = do_HEAD = do_OPTIONS = _answer  # noqa: N815

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        pass  # the report says it all


def _next_answer(key: str) -> dict[str, Any]:
    answers = _ANSWERS.get(key)
    if not answers:
        return {"status": 404}
    return answers.pop(0) if len(answers) > 1 else answers[0]


def _report(**seen: object) -> None:
    sys.stdout.write(json.dumps(seen) + "\n")
    sys.stdout.flush()


def _stop(*_: object) -> None:
    os._exit(0)


def _main() -> None:
    for key, value in json.loads(sys.argv[1]).items():
        _ANSWERS[key] = value if isinstance(value, list) else [value]
    signal.signal(signal.SIGTERM, _stop)
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), _Handler)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    _main()
