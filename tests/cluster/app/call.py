"""Call the own sidecar from inside a pod: ``call.py METHOD PATH [BODY]`` prints status and body.

``call.py await PATH STATUS SECONDS`` asks until the answer has that status, prints when it had.
``call.py load SECONDS APP_ID`` invokes and saves without a pause, prints what was acknowledged and
what was not, and reads every acknowledged value again.
"""

from __future__ import annotations

import http.client
import json
import sys
import time

PORT = 3500
KEYS = 50


def main() -> None:
    method, *rest = sys.argv[1:]
    if method == "load":
        print(json.dumps(load(float(rest[0]), *rest[1:])))
    elif method == "await":
        print(json.dumps(await_status(rest[0], int(rest[1]), float(rest[2]))))
    else:
        status, body = call(method, *rest)
        print(json.dumps({"status": status, "body": body}))


def call(method: str, path: str, body: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    try:
        connection.request(method, path, body or None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def await_status(path: str, wanted: int, seconds: float) -> float | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if call("GET", path)[0] == wanted:
            return time.time()
        time.sleep(0.005)
    return None


def load(seconds: float, app_id: str) -> dict[str, object]:
    counts = {"invoked": 0, "saved": 0}
    failures: list[str] = []
    saved: dict[str, int] = {}
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        number += 1
        key = f"key-{number % KEYS}"
        for name, wanted, path, body in (
            ("invoked", 200, f"/v1.0/invoke/{app_id}/method/echo", "{}"),
            ("saved", 204, "/v1.0/state/statestore", json.dumps([{"key": key, "value": number}])),
        ):
            try:
                status, said = call("POST", path, body)
            except OSError as error:
                failures.append(f"{name}: {error!r}")
                continue
            if status != wanted:
                failures.append(f"{name}: {status} {said}")
                continue
            counts[name] += 1
            if name == "saved":
                saved[key] = number
        time.sleep(0.005)
    lost = [k for k, v in saved.items() if call("GET", f"/v1.0/state/statestore/{k}")[1] != str(v)]
    return {**counts, "failures": failures[:10], "failed": len(failures), "lost": lost}


if __name__ == "__main__":
    main()
