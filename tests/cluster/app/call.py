"""Call the own sidecar from inside a pod: ``call.py METHOD PATH [BODY]`` prints status and body.

``call.py watch PATH`` asks until its input ends, and prints every answer that differs from the one
before, with the moment it came. ``call.py measure COUNT METHOD PATH [BODY]`` prints how long calls
took, in seconds.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
import time

PORT = 3500
_PAUSE_SECONDS = 0.001
_NOBODY = 0
"""The status where no sidecar answers."""


class Sidecar:
    """One connection that is kept, and made again after it broke."""

    def __init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)

    def call(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        """Raises ``OSError`` or ``HTTPException``."""
        try:
            headers = {"Content-Type": "application/json"}
            self._connection.request(method, path, body or None, headers)
            answer = self._connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def close(self) -> None:
        """The next call connects anew."""
        self._connection.close()


def say(what: object) -> None:
    """A line of JSON, at once."""
    print(json.dumps(what), flush=True)


def at_end_of_input(do: object) -> None:
    """Call it when whoever runs this closes its input."""

    def wait() -> None:
        sys.stdin.read()
        do()  # type: ignore[operator]

    threading.Thread(target=wait, daemon=True).start()


def watch(path: str) -> None:
    at_end_of_input(lambda: os._exit(0))
    sidecar, before = Sidecar(), None
    while True:
        try:
            now = sidecar.call("GET", path)
        except (OSError, http.client.HTTPException):
            now = _NOBODY, ""
        if now != before:
            say({"at": time.time(), "status": now[0], "body": now[1]})
        before = now
        time.sleep(_PAUSE_SECONDS)


def measure(count: int, method: str, path: str, body: str = "") -> list[float]:
    sidecar, took = Sidecar(), []
    for _ in range(count):
        began = time.perf_counter()
        status, said = sidecar.call(method, path, body)
        took.append(time.perf_counter() - began)
        if status >= 300:
            sys.exit(f"{method} {path}: {status} {said}")
    return took


def main() -> None:
    match sys.argv[1:]:
        case ["watch", path]:
            watch(path)
        case ["measure", count, *words]:
            say(measure(int(count), *words))
        case [method, path, *body]:
            status, said = Sidecar().call(method, path, *body)
            say({"status": status, "body": said})


if __name__ == "__main__":
    main()
