"""Real sidecars with an application each, around one store and one placement."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.app import AppProcess
from harness.http_call import Answer, call
from harness.programs import free_port
from harness.sidecar import Manifest, Sidecar, component

_APP = str(Path(__file__).with_name("actor_app.py"))
APP_ID = "shop"


def sqlite(folder: Path) -> list[Manifest]:
    """The default store, one file for all."""
    return [
        component(
            "st",
            "state.sqlite",
            connectionString=folder / "state.db",
            busyTimeout="10s",
            actorStateStore=True,
        )
    ]


class Host:
    """One replica of the application and its sidecar."""

    def __init__(self, app: AppProcess, sidecar: Sidecar) -> None:
        self.app = app
        self.sidecar = sidecar

    def call(self, method: str, path: str, body: object = None) -> Answer:
        raw = b"" if body is None else json.dumps(body).encode()
        return call(self.sidecar.http_port, method, path, raw)

    def remind(self, actor: str, name: str, **body: Any) -> None:
        answer = self.call("POST", f"/v1.0/actors/T/{actor}/reminders/{name}", body)
        assert answer.status == 204, answer.body

    def fired(self, kind: str = "remind") -> Counter[str]:
        """How often each reminder (or timer) reached the app, as ``actor/name``."""
        return Counter(
            f"{parts[3]}/{parts[6]}"
            for parts in (line["path"].split("/") for line in self.app.reports())
            if len(parts) > 6 and parts[5] == kind
        )


@contextmanager
def host(
    resources: Sequence[Manifest],
    *flags: str,
    config: str = '{"entities":["T"]}',
    exit_code: int | None = 0,
    seconds: float = 0.0,
    make: Callable[..., Sidecar] = Sidecar,
) -> Iterator[Host]:
    """Start both, the app first; ``seconds`` is how long it takes for each call."""
    port = free_port()
    env = {"ACTOR_CONFIG": config, "ACTOR_SECONDS": str(seconds)}
    app = AppProcess([sys.executable, _APP], port=port, env=env, name="actor app")
    sidecar = make(APP_ID, resources=resources, app_port=port, flags=flags, exit_code=exit_code)
    with app, sidecar:
        yield Host(app, sidecar)
