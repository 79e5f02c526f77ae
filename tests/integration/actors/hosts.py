"""Sidecars with actors: their apps, who hosts what, and calls to them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.app import AppProcess
from harness.http_call import Answer, call
from harness.placement_process import Placement
from harness.programs import free_port
from harness.sidecar import Manifest, Sidecar, component

from dapr_sidecar.blocks.actors.ring import Ring

STORE = component("actors", "state.in-memory", actorStateStore="true")
_APP = Path(__file__).with_name("actor_app.py")
MakeSidecar = Callable[..., Sidecar]


@dataclass
class Host:
    """A sidecar and its app."""

    sidecar: Sidecar
    app: AppProcess

    @property
    def address(self) -> str:
        """Its name in placement's tables."""
        return f"127.0.0.1:{self.sidecar.internal_port}"

    def call(self, actor: str, method: str = "echo", body: object = None, **more: Any) -> Answer:
        """A method call through this host's sidecar."""
        return call_actor(self.sidecar, actor, method, body, **more)

    def active(self) -> Mapping[str, int]:
        """How many actors of each type are active here."""
        return active(self.sidecar)


@contextmanager
def host(
    placement: str,
    actors: Mapping[str, Any],
    *,
    name: str = "",
    make: MakeSidecar = Sidecar,
    resources: Sequence[Manifest] = (STORE,),
    flags: Sequence[str] = (),
    **more: Any,
) -> Iterator[Host]:
    """One that is ready; its app answers ``/dapr/config`` with ``actors`` and calls its sidecar."""
    app_port = free_port()
    sidecar = make(
        name,
        resources=resources,
        app_port=app_port,
        flags=[f"--placement-host-address={placement}", *flags],
        **more,
    )
    env = {
        "APP_CONFIG": json.dumps(actors),
        "APP_NAME": sidecar.app_id,
        "DAPR_HTTP_PORT": str(sidecar.http_port),
    }
    app = AppProcess([sys.executable, str(_APP)], env=env, port=app_port, name=f"app {name}")
    with app, sidecar:
        yield Host(sidecar, app)


@contextmanager
def client(placement: str, *, make: MakeSidecar = Sidecar, **more: Any) -> Iterator[Sidecar]:
    """A sidecar that hosts nothing."""
    with make("", flags=[f"--placement-host-address={placement}"], **more) as sidecar:
        yield sidecar


def call_actor(
    sidecar: Sidecar, actor: str, method: str = "echo", body: object = None, **more: Any
) -> Answer:
    """A call of ``type/id``."""
    return call(sidecar.http_port, "POST", f"/v1.0/actors/{actor}/method/{method}", body, **more)


def runtime(sidecar: Sidecar) -> Mapping[str, Any]:
    """``actorRuntime`` of the metadata API."""
    found: Mapping[str, Any] = call(sidecar.http_port, "GET", "/v1.0/metadata").json["actorRuntime"]
    return found


def active(sidecar: Sidecar) -> Mapping[str, int]:
    """Active actors by type."""
    entries = runtime(sidecar).get("activeActors", [])
    return {entry["type"]: entry.get("count", 0) for entry in entries}


def owned_by(hosts: Sequence[Host], which: int, actor_type: str, count: int = 1) -> list[str]:
    """Actors that belong to one of these hosts, when they are the ones of a type."""
    ring = Ring([one.address for one in hosts], 100)
    found = (f"a{number}" for number in range(100_000))
    mine = (f"{actor_type}/{key}" for key in found if ring.owner(key) == hosts[which].address)
    return [next(mine) for _ in range(count)]


def wait_hosts(placement: Placement, actor_type: str, count: int) -> None:
    """Wait until placement's tables have so many hosts of a type."""

    def there() -> bool:
        tables = placement.state().get("tables", {})
        found = [one for table in tables.values() for one in table.get("hosts", [])]
        return sum(actor_type in one.get("entities", []) for one in found) == count

    until(there, f"placement has {count} hosts of {actor_type}")


def until(holds: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait for something only asking shows."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
