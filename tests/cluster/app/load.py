"""Requests that never rest: ``load.py APP_ID`` invokes, saves, reads and publishes.

It begins when every kind of request was answered once, and says so. When its input ends it reads
every acknowledged value again, and prints what became of it all.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from dataclasses import dataclass, field

from call import Sidecar, at_end_of_input, say

_KEYS = 20
_PAUSE_SECONDS = 0.005
_START_SECONDS = 60
_SHOWN = 10
done = threading.Event()


@dataclass
class Client:
    """One after the other, over a connection that is kept or over new ones."""

    name: str
    target: str
    keeps: bool
    sidecar: Sidecar = field(default_factory=Sidecar)
    acknowledged: int = 0
    saved: dict[str, int] = field(default_factory=dict)
    published: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    rounds: int = 0

    def run(self) -> None:
        while not done.is_set():
            self.rounds += 1
            self.once(self.rounds)
            time.sleep(_PAUSE_SECONDS)

    def once(self, number: int) -> None:
        key = f"{self.name}-{number % _KEYS}"
        saving = json.dumps([{"key": key, "value": number}])
        event = f"{self.name}-{number}"
        self.call(200, "POST", f"/v1.0/invoke/{self.target}/method/echo", "{}")
        if self.call(204, "POST", "/v1.0/state/statestore", saving) is not None:
            self.saved[key] = number
        said = self.call(200, "GET", f"/v1.0/state/statestore/{key}")
        if said is not None and key in self.saved and said != str(self.saved[key]):
            self.failures.append(f"{key} is {said}, saved was {self.saved[key]}")
        if self.call(204, "POST", "/v1.0/publish/pubsub/events", json.dumps(event)) is not None:
            self.published.append(event)

    def call(self, wanted: int, method: str, path: str, body: str = "") -> str | None:
        """What it answered; ``None`` if that was not what a client wants."""
        if not self.keeps:
            self.sidecar.close()
        try:
            status, said = self.sidecar.call(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{time.strftime('%X')} {method} {path}: {error!r}")
            return None
        if status != wanted:
            self.failures.append(f"{time.strftime('%X')} {method} {path}: {status} {said}")
            return None
        self.acknowledged += 1
        return said

    def lost(self) -> list[str]:
        """Saved, acknowledged, and not there."""
        path = "/v1.0/state/statestore"
        return [k for k, n in self.saved.items() if self.call(200, "GET", f"{path}/{k}") != str(n)]


def ready(target: str) -> Client:
    """A first client, of a pair of applications that know each other by now."""
    end = time.monotonic() + _START_SECONDS
    while True:
        client = Client("kept", target, keeps=True)
        client.once(0)
        if not client.failures:
            return client
        if time.monotonic() > end:
            sys.exit(f"not ready: {client.failures}")
        time.sleep(_PAUSE_SECONDS)


def main() -> None:
    target = sys.argv[1]
    clients = [ready(target), Client("new", target, keeps=False)]
    say({"started": True})
    at_end_of_input(done.set)
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lost = [key for client in clients for key in client.lost()]
    failures = [failure for client in clients for failure in client.failures]
    say(
        {
            "acknowledged": sum(client.acknowledged for client in clients),
            "failed": len(failures),
            "failures": failures[:_SHOWN],
            "lost": lost,
            "published": [event for client in clients for event in client.published],
        }
    )


if __name__ == "__main__":
    main()
