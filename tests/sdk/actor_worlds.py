"""Actor hosts of official SDKs beside their sidecars, and a client's run through another one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.app import AppProcess
from harness.http_call import Answer, call
from harness.placement_process import Placement
from harness.programs import free_port
from harness.redis_server import RedisServer
from harness.sidecar import Manifest, Sidecar, component

SECONDS = 40.0
FEATURES = {"features": [{"name": "ActorStateTTL", "enabled": True}]}


class SdkApp(AppProcess):
    """Serves only once its sidecar does: the SDKs wait for it. The sidecar waits for the rest."""

    def is_ready(self) -> bool:
        return True


@dataclass(frozen=True)
class Host:
    """An application with actors, and its sidecar."""

    app: AppProcess
    sidecar: Sidecar

    def actors(self, path: str) -> Answer:
        """A GET of the actor API."""
        return call(self.sidecar.http_port, "GET", f"/v1.0/actors/{path}", timeout=SECONDS)

    def wait(self, count: int = 1, **match: Any) -> list[dict[str, Any]]:
        """The first reports of the application with these values."""
        return self.app.wait_reports(count, SECONDS, **match)


@dataclass(frozen=True)
class World:
    """A host, and what a client behind another sidecar saw of it."""

    kind: str
    host: Host
    seen: dict[str, Any]


def actor_store(redis: RedisServer) -> Manifest:
    return component("actors", "state.redis", redisHost=redis.address, actorStateStore="true")


@contextmanager
def sdk_host(
    command: Sequence[str],
    placement: Placement,
    store: Manifest,
    *,
    app_id: str = "",
    name: str = "one",
    protocol: str = "http",
    env: dict[str, str] | None = None,
) -> Iterator[Host]:
    """An application that is known to placement when the block begins."""
    port = free_port()
    sidecar = Sidecar(
        app_id,
        resources=[store],
        config=FEATURES,
        app_port=port,
        app_protocol=protocol,
        flags=[f"--placement-host-address={placement.address}"],
    )
    environment = {**sidecar.sdk_environment(), "APP_NAME": name, **(env or {})}
    app = SdkApp(command, env=environment, port=port, name=f"actor host {name}")
    with app, sidecar:
        address = f"127.0.0.1:{sidecar.internal_port}"
        until(lambda: address in hosts(placement), "the host is in placement's tables")
        yield Host(app, sidecar)


@contextmanager
def caller(placement: Placement) -> Iterator[Sidecar]:
    """A sidecar without an application or actors."""
    with Sidecar(flags=[f"--placement-host-address={placement.address}"]) as sidecar:
        yield sidecar


def hosts(placement: Placement) -> list[str]:
    """The addresses of the sidecars that host something."""
    tables = placement.state().get("tables", {})
    found = [one for table in tables.values() for one in table.get("hosts", [])]
    return [one["name"] for one in found if one.get("entities")]


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for what only asking shows."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, f"not within {SECONDS:g} s: {what}"
        time.sleep(0.05)
